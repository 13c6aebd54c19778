"""The expiry of credentials is shown before and after it, in all commands."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from deploycore_bitbucket.sandbox import Sandbox
from deploycore_github.sandbox import GitHubSandbox
from deploycore_gitlab.sandbox import GitLabSandbox

from deploycore import Installation, Settings
from deploycore.errors import AuthenticationFailed
from deploycore.server.metrics import Metrics

IN_A_WEEK = (datetime.now(UTC) + timedelta(days=7)).replace(microsecond=0)


@pytest.fixture
def sandbox():
    with Sandbox().with_demo_content() as sandbox:
        yield sandbox


@contextmanager
def installed(shell):
    settings = Settings.from_environment({"DEPLOYCORE_HOME": str(shell.home)})
    with Installation(settings) as installation:
        yield installation


def expiry(shell, name):
    return shell.json("provider", "show", name)["expires_at"]


def midnight(day):
    return f"{day}T00:00:00Z"


def test_a_user_defined_expiry_is_shown_until_credentials_are_rotated(shell, connect, sandbox):
    name, _ = connect("api-token")
    assert expiry(shell, name) is None
    assert "expire" not in shell.succeed("provider", "test", name)
    day = (datetime.now(UTC) + timedelta(days=5)).date()
    shell.succeed("provider", "edit", name, "--expires-on", str(day))
    assert expiry(shell, name) == midnight(day)
    assert str(day) in shell.succeed("provider", "list")
    assert f"expire in 5 days ({day})" in shell.succeed("provider", "show", name)
    said = shell.succeed("provider", "test", name)
    assert f"Expiry        the credentials expire in 5 days ({day})" in said
    assert "read:repository:bitbucket" in said
    assert shell.json("provider", "test", name)["account"]["expires_at"] == midnight(day)
    new = sandbox.add_credential("api-token").secret.get_secret_value()
    said = shell.succeed("provider", "rotate", name, "--token-stdin", given=new)
    assert "expires_on" in said
    assert expiry(shell, name) is None
    new = sandbox.add_credential("api-token").secret.get_secret_value()
    options = ("--token-stdin", "--expires-on", str(day))
    shell.succeed("provider", "edit", name, *options, given=new)
    assert expiry(shell, name) == midnight(day)


@pytest.mark.parametrize(
    ("days", "said", "arguments"), [(3, "expire in 3 days", ()), (-1, "expired on", ["--offline"])]
)
def test_the_doctor_warns_before_and_after_expiry(shell, connect, days, said, arguments):
    name, _ = connect("api-token")
    day = (datetime.now(UTC) + timedelta(days=days)).date()
    shell.succeed("provider", "edit", name, "--expires-on", str(day), "--no-verify")
    (found,) = (
        each
        for each in shell.json("doctor", *arguments)["findings"]
        if each["level"] == "warning" and each["subject"] == f"provider {name}"
    )
    assert said in found["message"]
    assert f"deploycore provider rotate {name}" in found["hint"]


@pytest.mark.parametrize(("days", "is_warned"), [(-1, True), (0, True), (1, False)])
def test_a_warning_is_given_for_a_past_date(shell, connect, days, is_warned):
    name, _ = connect("api-token")
    day = (datetime.now(UTC) + timedelta(days=days)).date()
    done = shell.run("provider", "edit", name, "--expires-on", str(day), "--no-verify")
    assert (done.returncode, "Warning: The credentials expired" in done.stderr) == (0, is_warned)
    done = shell.run("provider", "edit", name, "--prefetch-pages", "2", "--no-verify")
    assert "Warning" not in done.stderr  # it was said, and doctor says it


def test_a_deployment_with_expired_credentials_reports_that_first(
    shell, connect, sandbox, tmp_path
):
    name, _ = connect("api-token")
    shell.succeed(
        "app", "create", "site", "--provider", name, "--repository", "acme/shop",
        "--branch", "main", "--target", str(tmp_path / "site"),
    )  # fmt: skip
    day = (datetime.now(UTC) - timedelta(days=2)).date()
    shell.succeed("provider", "edit", name, "--expires-on", str(day))
    (token,) = (each for each in sandbox.credentials if each.mode == "api-token")
    sandbox.expire_credential(token, datetime.now(UTC) - timedelta(days=1))
    code, said = shell.fail("deploy", "site")
    assert code == 4
    flat = " ".join(said.split())
    assert f"Error: The credentials of provider {name} expired on {day}." in flat
    assert f"Replace them: deploycore provider rotate {name}" in flat
    (deployment,) = shell.json("deployments", "site")
    assert deployment["error"].startswith(f"The credentials of provider {name} expired on {day}.")


def test_the_error_for_rejected_stored_credentials_names_the_command(shell, connect, sandbox):
    name, _ = connect("api-token")
    (token,) = (each for each in sandbox.credentials if each.mode == "api-token")
    sandbox.revoke_credential(token)
    _, said = shell.fail("provider", "test", name)
    assert f"deploycore provider rotate {name}" in " ".join(said.split())
    assert "expired on" not in said


HOSTS = {
    "github": (GitHubSandbox, "classic", IN_A_WEEK),
    "gitlab": (
        GitLabSandbox,
        "access-token",
        datetime.combine(IN_A_WEEK, datetime.min.time(), UTC),
    ),
    "gitlab-oauth": (GitLabSandbox, "oauth-token", IN_A_WEEK),
}


@pytest.mark.parametrize("case", HOSTS)
def test_an_expiry_reported_by_the_host_is_stored(case, tmp_path):
    made, mode, told = HOSTS[case]
    with made.demo() as host, Installation(
        Settings.from_environment({"DEPLOYCORE_HOME": str(tmp_path / "home")})
    ) as installation:  # fmt: skip
        credential = next(each for each in host.credentials if each.mode == mode)
        values = dict(host.connection(credential).settings)
        secrets = {key: each for key, each in values.items() if not isinstance(each, str)}
        settings = {key: each for key, each in values.items() if isinstance(each, str)}
        installation.add_provider("work", case.partition("-")[0], settings, secrets)
        owner = host.connection(credential).owner
        installation.add_application(
            "site",
            provider="work",
            repository=f"{owner}/shop",
            target=tmp_path / "site",
            ref="main",
        )
        installation.deploy("site")
        before = host.request_count
        installation.deploy("site")
        usual = host.request_count - before
        host.expire_credential(credential, IN_A_WEEK)
        before = host.request_count
        installation.deploy("site")
        assert host.request_count - before == usual  # no request more
        noted = installation.store.get_provider("work").expires_at
        assert abs(noted - told) < timedelta(minutes=1)
        text = Metrics(installation.store, None).text().decode()
        assert 'deploycore_provider_credential_expiry_seconds{provider="work"}' in text


def test_the_metric_is_the_remaining_time(shell, connect):
    name, _ = connect("api-token")
    with installed(shell) as installation:
        installation.store.note_expiry(name, datetime.now(UTC) - timedelta(hours=1))
        text = Metrics(installation.store, None).text().decode()
    (line,) = (each for each in text.splitlines() if f'expiry_seconds{{provider="{name}"}}' in each)
    assert -3700 < float(line.split()[-1]) <= -3600


def test_credentials_rejected_on_add_get_no_hint_for_stored_ones(sandbox, tmp_path):
    settings = Settings.from_environment({"DEPLOYCORE_HOME": str(tmp_path / "home")})
    token = sandbox.add_credential("api-token")
    values = dict(sandbox.connection(token).settings)
    sandbox.revoke_credential(token)
    secret = {"token": values.pop("token")}
    with (
        Installation(settings) as installation,
        pytest.raises(AuthenticationFailed) as caught,
    ):
        installation.add_provider(
            "work", "bitbucket", values, secret, verify=lambda provider: provider.authenticate()
        )
    assert "rotate" not in caught.value.hint
