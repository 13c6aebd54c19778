"""The name and the directory that are suggested for a new application."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploycore.server.rest import suggestions


@pytest.fixture
def suggest(client, token, installation):
    """Asks for a suggestion: ``suggest(repository="acme/blog")``."""
    header = token("admin")

    def ask(**query):
        answer = client.get("/api/v1/suggestions/application", params=query, headers=header)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return ask


@pytest.fixture
def add(installation, tmp_path):
    """Adds an application whose target is in a directory: ``add("blog", "sites")``."""

    def make(name, directory="sites"):
        target = tmp_path / directory / name
        installation.add_application(
            name, provider="work", repository=f"ada/{name}", ref="main", target=target, verify=False
        )

    return make


@pytest.mark.parametrize(
    ("repository", "name"),
    [
        ("acme/Blog", "blog"),
        ("acme/My Blog!.git", "my-blog"),
        ("https://git.example.com/acme/blog.git", "blog"),
        ("acme/" + "x" * 100, "x" * 63),
        ("acme/-._", ""),
        ("", ""),
    ],
)
def test_a_name_is_made_from_the_repository(suggest, repository, name):
    found = suggest(repository=repository)
    assert found["name"] == name
    assert found["target"] == (f"{found['directory']}/{name}" if name else "")


def test_a_taken_name_is_not_suggested(suggest, add):
    add("blog")
    assert suggest(repository="acme/blog", ref="release/2.x")["name"] == "blog-release-2.x"
    add("blog-main")
    assert suggest(repository="acme/blog", ref="main")["name"] == "blog-2"
    assert suggest(repository="acme/blog")["name"] == "blog-2"


def test_a_chosen_name_is_kept(suggest, add):
    found = suggest(repository="acme/blog", name="journal")
    assert (found["name"], Path(found["target"]).name) == ("journal", "journal")
    assert suggest(name="../x")["target"] == ""


def test_the_directory_is_that_of_the_newest_application(suggest, add, tmp_path):
    add("blog", "sites")
    assert suggest()["directory"] == str(tmp_path / "sites")
    add("journal", "others")
    assert suggest(name="x")["target"] == str(tmp_path / "others" / "x")


def test_the_directory_of_the_option_comes_first(serving, token, tmp_path):
    client = serving(targets=tmp_path / "apps")
    answer = client.get(
        "/api/v1/suggestions/application?repository=acme/blog", headers=token("admin")
    )
    assert answer.json() == {
        "name": "blog",
        "directory": str(tmp_path / "apps"),
        "target": str(tmp_path / "apps" / "blog"),
    }


@pytest.mark.parametrize("is_writable", [True, False])
def test_the_first_application_is_suggested_a_directory_that_exists(
    suggest, installation, monkeypatch, tmp_path, is_writable
):
    installation.remove_application("shop")
    monkeypatch.setattr(suggestions, "_SYSTEM", tmp_path if is_writable else tmp_path / "none")
    monkeypatch.setattr(Path, "home", lambda: Path("/home/ada"))
    expected = str(tmp_path) if is_writable else "/home/ada/apps"
    assert suggest()["directory"] == expected
