"""Tables at terminals of any width: values to copy are complete, and the rest is readable."""

from __future__ import annotations

import re
import sys
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycore import Installation, Settings
from deploycore.cli import (
    application,
    browse,
    cache,
    doctor,
    history,
    plugins,
    provider,
    token,
    webhook,
)
from deploycore.cli.output import show_error, show_record, show_table
from deploycore.cli.tables import Column, record_lines, table_lines
from deploycore.deploy import Release
from deploycore.doctor import Finding
from deploycore.errors import NotFound
from deploycore.installation import SecretReference
from deploycore.models import Branch, Owner, Repository

COMMIT, LONG_COMMIT = "0123456789abcdef0123456789abcdef01234567", "fedcba9876543210" * 4
NAME = "a-shop-whose-name-is-rather-long-for-a-column"
URL = "https://git.example.com/a-workspace-with-a-long-name/a-repository.git"
RELEASE = "20261124T101500Z-0123456789ab"
ERROR = "The health check of https://shop.example.com/healthz failed: status 503 after 3 tries."
AT = datetime(2026, 11, 24, 10, 15, tzinfo=UTC)
WIDTHS = (40, 80, 120, 200)


@pytest.fixture
def installation(home, monkeypatch):
    monkeypatch.setenv("DEPLOYCORE_HOME", str(home))
    with Installation(Settings.from_environment({"DEPLOYCORE_HOME": str(home)})) as opened:
        opened.add_provider("work", "bitbucket", _SETTINGS, {"token": SecretReference("env:HOME")})
        for name in (NAME, "blog"):
            opened.add_application(
                name,
                provider="work",
                repository="acme/site",
                ref="feature/a-branch-with-a-long-name",
                target=home.parent / name,
            )
        opened.store.tokens.add("ci", digest="0" * 64, role="deploy", expires_at=AT)
        yield opened


_SETTINGS = {"mode": "access-token", "workspace": "acme"}


@pytest.fixture
def terminal(capsys, monkeypatch):
    """What a command prints at a terminal: ``terminal(width, command, ...)``."""

    def show(width, command, *arguments, color=False, **options) -> str:
        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(sys.stdout, "isatty", lambda: width is not None)
            patch.setenv("COLUMNS", str(width))
            patch.setenv("TERM", "xterm")
            patch.delenv("FORCE_COLOR", raising=False)
            patch.setenv("NO_COLOR", "" if color else "1")
            command(*arguments, **options)
        return capsys.readouterr().out

    return show


@pytest.fixture
def deployments(installation):
    """One that works, and one that was rolled back."""
    asked = installation.store.deployments.request(NAME, ref="main", requested_by="ada", home="")
    known = {"requested_at": AT, "started_at": AT, "finished_at": AT, "commit": COMMIT}
    good = replace(asked, state="healthy", release=RELEASE, seconds={"fetching": 1.0}, **known)
    bad = replace(
        asked, state="rolled_back", error=ERROR, error_code="health_check_failed", **known
    )
    return [bad, good]


def assert_whole(text: str, *values: str) -> None:
    for value in values:
        assert value in text, f"{value} is not whole in:\n{text}"


def assert_fits(text: str, width: int) -> None:
    """No line is wider than the terminal, but for one value that is itself wider."""
    for line in text.splitlines():
        assert len(line) <= width or len(line.split()[-1]) > 24, line


@pytest.mark.parametrize("width", WIDTHS)
def test_deployments_stay_readable(terminal, deployments, width):
    shown = terminal(width, history.show_deployments, deployments, "none")
    assert_whole(shown, NAME, COMMIT[:12], "rolled_back", "https://shop.example.com/healthz")
    assert_fits(shown, width)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_deployment_is_never_truncated(terminal, deployments, installation, monkeypatch, width):
    monkeypatch.setattr(history, "_find", lambda installation, text: deployments[0])
    shown = terminal(width, history.show, "1")
    assert_whole(shown, NAME, COMMIT, "rolled_back", "https://shop.example.com/healthz")
    assert_fits(shown, width)


@pytest.mark.parametrize("width", WIDTHS)
def test_releases_are_never_truncated(terminal, deployments, installation, monkeypatch, width):
    deployment = replace(deployments[1], author="Ada Lovelace", subject="Count " * 30)
    release = Release(RELEASE, Path("/srv") / RELEASE, is_live=True, deployment=deployment)
    monkeypatch.setattr(history, "_find_releases", lambda name: ([release], []))
    shown = terminal(width, history.releases, NAME)
    assert_whole(shown, RELEASE, COMMIT[:12], "live")
    assert_fits(shown, width)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("commit", [COMMIT, LONG_COMMIT])
def test_repositories_and_branches_are_never_truncated(
    terminal, installation, monkeypatch, width, commit
):
    owner, long_name = Owner(username="acme-incorporated"), "a-repository-with-a-long-name"
    repository = Repository(name="A site", slug=long_name, url=URL, owner=owner)
    host = SimpleNamespace(
        list_repos=lambda query: [repository],
        list_branches=lambda wanted, query: [Branch(name=f"feature/{NAME}", commit=commit)],
    )
    monkeypatch.setattr(Installation, "open_provider", lambda self, name: nullcontext(host))
    repos = terminal(width, browse.repos, "work")
    assert_whole(repos, f"acme-incorporated/{long_name}")
    assert_fits(repos, width)
    branches = terminal(width, browse.branches, "work", "acme/site")
    assert_whole(branches, f"feature/{NAME}", commit)
    assert_fits(branches, width)


@pytest.mark.parametrize("width", WIDTHS)
def test_applications_providers_and_tokens_are_never_truncated(terminal, installation, width):
    for command, values in (
        (application.list_, (NAME, "acme/site", "feature/a-branch-with-a-long-name")),
        (provider.list_, ("work",)),
        (token.list_, ("ci", "deploy")),
    ):
        shown = terminal(width, command)
        assert_whole(shown, *values)
        assert_fits(shown, width)


@pytest.mark.parametrize("width", WIDTHS)
def test_records_are_never_truncated(terminal, installation, monkeypatch, width):
    monkeypatch.setenv("DEPLOYCORE_PUBLIC_URL", "https://deploy.example.com")
    installation.webhooks.prepare(NAME)
    target = installation.store.get_application(NAME).definition.target
    shown = terminal(width, application.show, NAME)
    assert_whole(shown, NAME, "feature/a-branch-with-a-long-name", str(target))
    assert_whole(terminal(width, provider.show, "work"), "access-token", "acme")
    shown = terminal(width, webhook.show, NAME)
    assert_whole(shown, NAME, f"https://deploy.example.com/webhooks/{NAME}")


@pytest.mark.parametrize("width", WIDTHS)
def test_the_cache_table_is_never_truncated(terminal, monkeypatch, width):
    entries = [SimpleNamespace(url=URL, bytes=10**9, commits=3, used_at=AT)]
    monkeypatch.setattr(cache, "_cache", lambda: SimpleNamespace(entries=lambda: entries))
    shown = terminal(width, cache.list_)
    assert_whole(shown, URL)
    assert_fits(shown, width)


@pytest.fixture
def unprobed(monkeypatch):
    """Imports the plugins of the tests without trying that in a process of its own first."""
    monkeypatch.setattr("deploycore.provider.probing.probe_imports", lambda: None)


@pytest.mark.usefixtures("unprobed")
@pytest.mark.parametrize("width", WIDTHS)
def test_findings_stay_readable(terminal, monkeypatch, width):
    finding = Finding("warning", f"application {NAME}", f"{URL} {ERROR}", hint=f"See {URL}")
    monkeypatch.setattr("deploycore.doctor.diagnose", lambda offline: [finding])
    shown = terminal(width, doctor.doctor)
    assert_whole(shown, "warning", f"application {NAME}", URL, "https://shop.example.com/healthz")
    assert shown.count(URL) == 2
    assert_fits(shown, width)


@pytest.mark.usefixtures("unprobed")
@pytest.mark.parametrize("width", WIDTHS)
def test_plugins_are_wrapped_between_words(terminal, width):
    shown = terminal(width, plugins.plugins)
    assert "provider bitbucket: ready" in shown
    assert_whole(shown, "explain_git_refusal", "register_webhook")
    assert_fits(shown, width)


def test_the_least_important_columns_are_removed_first(terminal, deployments):
    short = [replace(each, application="shop", error="It failed.") for each in deployments]

    def head(width: int) -> list[str]:
        return terminal(width, history.show_deployments, short, "none").splitlines()[0].split()

    whole = ["DEPLOYMENT", "APPLICATION", "REQUESTED", "KIND", "STATE", "COMMIT", "BY", "ERROR"]
    assert head(120) == whole
    assert head(100) == [each for each in whole if each != "KIND"]
    assert head(65) == [each for each in whole if each not in ("KIND", "BY", "REQUESTED")]
    assert head(40) == ["DEPLOYMENT", "1"]  # a block for each


def test_a_pipe_gets_all_columns_at_any_terminal_width(terminal, deployments):
    shown = terminal(None, history.show_deployments, deployments, "none", color=True)
    assert_whole(shown, NAME, ERROR, "ada", COMMIT[:12])
    assert len(shown.splitlines()) == 3
    assert "\x1b" not in shown


texts = st.text("abc名é ", max_size=60)


@given(
    st.lists(st.tuples(st.text("abc/.-", max_size=50), texts, texts), min_size=1, max_size=5),
    st.integers(10, 200),
    st.permutations([Column("ID"), Column("LESS", drop=1), Column("PROSE", is_prose=True)]),
)
def test_no_value_is_broken_at_any_width(rows, width, columns):
    shown = "\n".join(table_lines(columns, rows, width=width, paint=lambda style, text: text))
    for row in rows:
        for column, cell in zip(columns, row, strict=True):
            if not column.is_prose and not column.drop:
                assert cell.rstrip() in shown
    whole = list(table_lines(columns, rows, width=None, paint=lambda style, text: text))
    assert len(whole) == len(rows) + 1


@given(texts, st.integers(1, 200))
def test_wrapping_a_record_loses_no_word(text, width):
    lines = record_lines(
        [(Column("note", is_prose=True), text)], width=width, paint=lambda style, text: text
    )
    assert " ".join(lines).split()[1:] == text.split()


def test_double_width_characters_keep_columns_aligned(terminal):
    rows = [["名前", "x"], ["name", "y"]]
    shown = terminal(80, show_table, [Column("A"), Column("B")], rows, empty="")
    assert shown.splitlines()[1:] == ["名前  x", "name  y"]


@pytest.mark.parametrize(
    ("variables", "is_colored"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"TERM": "xterm", "FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": "0"}, False),
    ],
)
def test_colors_are_only_used_on_terminals_that_support_them(
    capsys, monkeypatch, variables, is_colored
):
    for name in ("TERM", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    show_record([(Column("state", style="state"), "rolled_back")])
    show_error(NotFound("There is none."), as_json=False)
    shown = capsys.readouterr()
    for text, plain in (
        (shown.out, "state  rolled_back\n"),
        (shown.err, "Error: There is none.\n"),
    ):
        assert ("\x1b[31m" in text) is is_colored
        assert re.sub(r"\x1b\[[0-9;]*m", "", text) == plain  # color alone says nothing


def test_colored_states_keep_columns_aligned(terminal, deployments):
    shown = terminal(200, history.show_deployments, deployments, "none", color=True)
    assert "\x1b[31mrolled_back\x1b[0m" in shown
    assert "\x1b[32mhealthy\x1b[0m" in shown
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert plain == terminal(200, history.show_deployments, deployments, "none")


def test_an_error_for_one_of_several_applications_names_it(capsys):
    show_error(NotFound("There is none.", hint="Look."), as_json=False, application="shop")
    assert capsys.readouterr().err == "Error: shop: There is none.\n  Next: Look.\n"
