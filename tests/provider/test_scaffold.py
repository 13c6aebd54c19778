"""``deploycore plugin new``: names are replaced everywhere, and nothing is written incompletely."""

from __future__ import annotations

import os
import py_compile
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from deploycore.errors import ConfigurationError
from deploycore.provider.scaffold import render_template, template_directory

EDIT = re.compile(r"EDIT (\d+)")


def texts(directory):
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not any("cache" in part for part in path.parts)
    }


@pytest.mark.parametrize(
    ("name", "kind", "package", "prefix"),
    [
        ("harbour", "harbour", "deploycore_harbour", "Harbour"),
        ("My_Git.Host", "my-git-host", "deploycore_my_git_host", "MyGitHost"),
        ("git4u", "git4u", "deploycore_git4u", "Git4U"),
        ("deploycore-harbour", "harbour", "deploycore_harbour", "Harbour"),
        ("Deploycore_My.Host", "my-host", "deploycore_my_host", "MyHost"),
    ],
)
def test_every_name_of_the_example_host_is_replaced(tmp_path, name, kind, package, prefix):
    made = render_template(name, tmp_path / "made")
    rendered = texts(made)
    assert [path for path, text in rendered.items() if "acme" in (path + text).lower()] == []
    project = tomllib.loads(rendered["pyproject.toml"])["project"]
    assert project["name"] == f"deploycore-{kind}"
    assert project["entry-points"]["deploycore.providers"] == {kind: f"{package}:{prefix}Provider"}
    for path in rendered:
        if path.endswith(".py"):
            py_compile.compile(str(made / path), doraise=True)


@pytest.mark.parametrize("template", ["provider", "observer"])
def test_the_rendered_plugin_passes_the_linter(tmp_path, template):
    made = render_template("my-host", tmp_path / "made", template=template)
    ruff = [sys.executable, "-m", "ruff"]
    checked = subprocess.run([*ruff, "check", "."], cwd=made, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_an_observer_is_rendered_with_its_names_replaced(tmp_path):
    made = render_template("My_Pager", tmp_path / "made", template="observer")
    rendered = texts(made)
    assert [path for path, text in rendered.items() if "acme" in (path + text).lower()] == []
    project = tomllib.loads(rendered["pyproject.toml"])["project"]
    observers = project["entry-points"]["deploycore.observers"]
    assert observers == {"my-pager": "deploycore_my_pager:MyPagerObserver"}


def test_the_tests_of_a_rendered_observer_pass(tmp_path):
    made = render_template("my-pager", tmp_path / "made", template="observer")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(command, cwd=made, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [("", "An observer cannot be named"), ("test-it", "An observer cannot be named")],
)
def test_an_invalid_observer_name_is_rejected(tmp_path, name, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        render_template(name, tmp_path / "made", template="observer")
    if name:
        assert "Choose a name that" in caught.value.hint
        assert "deploycore plugin new --observer it." in caught.value.hint


def test_an_observer_cannot_use_the_distribution_name_of_a_provider(tmp_path):
    with pytest.raises(ConfigurationError, match="used by deploycore-bitbucket"):
        render_template("bitbucket", tmp_path / "made", template="observer")


def test_only_files_of_the_template_are_copied(tmp_path, monkeypatch):
    source = tmp_path / "template"
    for path in ("pyproject.toml", ".gitignore", "pkg/a.py", "pkg/__pycache__/a.pyc", ".venv/x"):
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_text("acme")
    monkeypatch.setattr("deploycore.provider.scaffold.template_directory", lambda template: source)
    made = render_template("harbour", tmp_path / "made")
    assert set(texts(made)) == {"pyproject.toml", ".gitignore", "pkg/a.py"}


@pytest.mark.parametrize(("kind", "least"), [("provider", 10), ("observer", 5)])
def test_every_place_to_edit_is_marked_once_and_explained(kind, least):
    template = texts(template_directory(kind))
    marked = {path: EDIT.findall(text) for path, text in template.items() if path != "README.md"}
    numbers = [int(number) for path in marked for number in marked[path]]
    explained = re.findall(r"^\| (\d+) \|", template["README.md"], re.MULTILINE)
    assert sorted(numbers) == list(range(1, len(numbers) + 1)) == [int(each) for each in explained]
    assert len(numbers) >= least


@pytest.mark.parametrize(
    "name",
    ["", "1host", "a/b", "..", "größe", "x" * 31, "-", "a b", "a;b", "test-host", "deploycore"],
)
def test_an_invalid_name_is_rejected(tmp_path, name):
    with pytest.raises(ConfigurationError, match="cannot be named"):
        render_template(name, tmp_path / "made")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("My Host", "my-host"),
        ("deploycore-My Host", "my-host"),
        ("_host", "host"),
        ("1host", "host"),
        ("a/b", "a-b"),
        ("größe", "grosse"),
        ("Göteborg", "goteborg"),
        ("test-host", "host"),
        ("test 1 host", "host"),
        ("git.example.com:8443", "git-example-com-8443"),
        ("harbour!", "harbour"),
        ("x" * 40, "x" * 30),
    ],
)
def test_an_invalid_name_gets_a_valid_suggestion(tmp_path, name, suggested):
    with pytest.raises(ConfigurationError) as caught:
        render_template(name, tmp_path / "made")
    assert f"deploycore plugin new {suggested}." in caught.value.hint
    assert render_template(suggested, tmp_path / "made").is_dir()


@pytest.mark.parametrize(
    "name", ["", "..", "123", "主机", "test", "Bitbucket", "bit bucket 主", "-"]
)
def test_no_invalid_name_is_suggested(tmp_path, name):
    with pytest.raises(ConfigurationError) as caught:
        render_template(name, tmp_path / "made")
    for suggested in re.findall(r"plugin new ([^ ]+)\.", caught.value.hint):
        render_template(suggested, tmp_path / "made")


def test_the_name_of_an_installed_distribution_is_rejected(tmp_path, monkeypatch):
    metadata = tmp_path / "site" / "deploycore_harbour-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: deploycore-harbour\nVersion: 1\n"
    )
    monkeypatch.syspath_prepend(str(metadata.parent))
    with pytest.raises(ConfigurationError, match="used by deploycore-harbour"):
        render_template("Harbour", tmp_path / "made")


def test_a_directory_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    def denied(self):
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(ConfigurationError, match="Permission denied"):
        render_template("harbour", tmp_path)


def test_an_installed_kind_is_rejected(tmp_path):
    with pytest.raises(ConfigurationError, match="used by deploycore-bitbucket"):
        render_template("Bitbucket", tmp_path / "made")


def test_a_directory_in_use_is_not_changed(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="not empty") as caught:
        render_template("harbour", tmp_path)
    assert "--dir" in caught.value.hint
    assert texts(tmp_path) == {"precious.txt": "mine"}
    assert render_template("harbour", tmp_path / "other").is_dir()


def test_an_existing_file_is_not_changed(tmp_path):
    place = tmp_path / "made"
    place.write_text("mine")
    with pytest.raises(ConfigurationError):
        render_template("harbour", place)
    assert place.read_text() == "mine"


def test_an_empty_directory_is_accepted_even_the_current_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    render_template("harbour", Path("."))
    assert Path("pyproject.toml").is_file()
    assert Path("deploycore_harbour/provider.py").is_file()


@pytest.mark.parametrize("name", ["harbour", "deploycore-harbour"])
def test_without_a_directory_the_plugin_is_created_in_the_current_one(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert render_template(name) == tmp_path / "deploycore-harbour"
    assert (tmp_path / "deploycore-harbour" / "README.md").is_file()


@pytest.mark.parametrize("call", [1, 7, 12])
def test_an_error_at_any_file_leaves_nothing_behind(tmp_path, monkeypatch, call):
    calls = iter(range(1, 1000))
    write = Path.write_text

    def failing(self, *arguments, **options):
        if next(calls) == call:
            raise OSError(28, os.strerror(28))
        return write(self, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", failing)
    with pytest.raises(ConfigurationError, match="No space left") as caught:
        render_template("harbour", tmp_path / "made")
    assert list(tmp_path.iterdir()) == []
    assert "--dir DIRECTORY" in caught.value.hint
    assert render_template("harbour", tmp_path / "with-room").is_dir()


def test_an_installation_without_the_template_reports_it(tmp_path, monkeypatch):
    monkeypatch.setattr("deploycore.provider.scaffold.files", lambda package: tmp_path / "package")
    with pytest.raises(ConfigurationError, match="lacks the template") as caught:
        render_template("harbour", tmp_path / "made")
    assert "Reinstall deploycore" in caught.value.hint
    (tmp_path / "package" / "_template").mkdir(parents=True)
    (tmp_path / "package" / "_template" / "pyproject.toml").touch()
    assert template_directory() == tmp_path / "package" / "_template"
