"""Definitions of applications: short forms, defaults, and errors that name the field."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from deploycore.applications.application import Application, parse_application
from deploycore.errors import ConfigurationError

LEAST = {
    "name": "shop",
    "provider": "work",
    "repository": "acme/shop",
    "ref": "main",
    "target": "/srv/shop",
}


def parse(**fields) -> Application:
    return parse_application({**LEAST, **fields})


def test_unset_fields_are_not_exported():
    application = parse()
    assert application.as_dict() == LEAST
    assert parse_application(application.as_dict()) == application


def test_steps_have_a_short_form():
    steps = parse(
        steps={
            "build": ["npm ci --prefix 'my app'", ["make", "-j 2"], {"run": "make test"}],
            "after_activate": [{"shell": "cat a | b", "name": "tell", "timeout": 3}],
        }
    ).steps
    assert [step.arguments for step in steps.build] == [
        ("npm", "ci", "--prefix", "my app"),
        ("make", "-j 2"),
        ("make", "test"),
    ]
    (told,) = steps.after_activate
    assert told.arguments == ("/bin/sh", "-c", "cat a | b")
    assert (told.name, told.timeout, str(steps.build[0])) == (
        "tell",
        3.0,
        "npm ci --prefix 'my app'",
    )


def test_links_can_be_allowed_by_path():
    application = parse(links={"allow": ["test/data/", "a"]}, limits={"submodules": 2000})
    assert application.links.allow == ("test/data", "a")
    assert application.links_written == ["test/data", "a", "test/data/", "a/"]
    assert application.limits.submodules == 2000
    assert parse_application(application.as_dict()) == application


def test_links_at_shared_paths_can_lead_anywhere_as_they_are_replaced():
    application = parse(shared={"directories": ["storage"], "files": [".env"]})
    assert application.links_written == ["storage", ".env"]


def test_variables_are_text_numbers_or_secret_references():
    environment = parse(
        environment={"A": "x", "PORT": 8080, "EMPTY": "", "TOKEN": {"secret": "env:TOKEN"}}
    ).environment
    assert (environment["A"], environment["PORT"], environment["EMPTY"]) == ("x", "8080", "")
    assert environment["TOKEN"].secret == "env:TOKEN"


def test_all_fields_are_exported_as_they_were_given():
    application = parse(
        submodules=True,
        credentials=["team", "partner"],
        lfs=True,
        attributes=True,
        links="write-as-files",
        reuse="hard-link",
        shared={"directories": ["storage", "var/log"], "files": [".env"]},
        environment={"A": "1", "B": {"secret": "file:/run/secrets/b"}, "C": {"secret": "stored"}},
        steps={"before_activate": ["bin/migrate"]},
        health_check={"url": "http://127.0.0.1:8080/health", "status": 204, "retries": 3},
        keep=7,
        history_days=30,
        watch=["src/", "!src/docs/"],
        timeouts={"fetch": 60, "deploy": 600},
    )
    assert parse_application(application.as_dict()) == application
    assert application.health_check.is_good(204)
    assert not application.health_check.is_good(200)


def test_the_home_directory_can_be_abbreviated(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert parse(target="~/shop").target == Path("/home/ada/shop")


WRONG = [
    ({"name": "a/b"}, "name: should have up to 63 letters"),
    ({"name": "shop\n"}, "name: should have up to 63 letters"),
    ({"repository": "shop"}, "repository: should be OWNER/REPOSITORY"),
    ({"ref": ""}, "ref: "),
    ({"ref": "a\0b"}, "ref: "),
    ({"ref": 7}, "ref: should be text"),
    ({"target": "shop"}, "target: should be an absolute path"),
    ({"target": "/srv/../etc"}, "target: should be a path without '..'"),
    ({"target": "/srv/" + "é" * 128}, "target: should have no name of more than 255 bytes"),
    ({"target": "/srv" + "/a" * 1800}, "target: should have 3500 bytes at most"),
    ({"taget": "/x"}, "taget: is not known here"),
    ({"provider": None}, "provider: should be text"),
    ({"credentials": ["team", "team"]}, "credentials: names the provider 'team' twice"),
    ({"credentials": ["a/b"]}, "credentials/0: should have up to 63 letters"),
    ({"credentials": "team"}, "credentials: should be a list"),
    ({"provider": "acme", "credentials": ["acme"]}, "credentials should not name 'acme'"),
    ({"submodules": "perhaps"}, "submodules: should be true or false"),
    ({"steps": {"build": "make"}}, "steps/build: should be a list"),
    ({"steps": {"build": [{}]}}, "steps/build/0: should have either run or shell"),
    ({"steps": {"build": ["a", {"run": ["a"], "shell": "b"}]}}, "steps/build/1: should have"),
    ({"steps": {"build": ["'"]}}, "steps/build/0: should be a command line"),
    ({"steps": {"build": [["a\0"]]}}, "steps/build/0/0: should not contain NUL"),
    ({"steps": {"build": [{"run": ["a"], "timeout": 0}]}}, "steps/build/0/timeout: "),
    ({"steps": {"build": [{"run": ["a"], "timeout": "inf"}]}}, "steps/build/0/timeout: "),
    ({"steps": {"bild": []}}, "steps/bild: is not known here (Did you mean 'build'?)"),
    ({"steps": []}, "steps: should be a mapping"),
    ({"shared": {"files": ["../x"]}}, "shared/files/0: should be a path within the release"),
    ({"shared": {"files": ["/x"]}}, "shared/files/0: should be a path within the release"),
    ({"shared": {"files": ["a\x1b"]}}, "shared/files/0: should be a path within the release"),
    ({"shared": {"directories": [".git/hooks"]}}, "shared/directories/0: should not be in .git"),
    ({"shared": {"directories": ["a"], "files": ["a/b"]}}, "'a/b' is within 'a', which is shared"),
    ({"shared": {"directories": ["a", "a/"]}}, "shared: 'a' is shared twice"),
    ({"environment": {"A B": "x"}}, "environment: 'A B' cannot be the name of a variable"),
    ({"environment": {"A": True}}, "environment/A: should be text"),
    ({"environment": {"A": {"secret": "hunter2"}}}, "environment/A/secret: should be env:NAME"),
    ({"environment": {"A": "x\0"}}, "environment/A: should not contain NUL"),
    ({"health_check": {}}, "health_check: should have one of url, run and shell"),
    ({"health_check": {"url": "ftp://x"}}, "health_check/url: should be an absolute http"),
    ({"health_check": {"url": "http://a:b@x"}}, "health_check/url: should not have a user"),
    ({"health_check": {"url": "http://x", "run": ["a"]}}, "health_check: should have one"),
    (
        {"health_check": {"url": "http://x", "status": "fine"}},
        "health_check/status: should be a status such as 200",
    ),
    ({"keep": 1}, "keep: should be 2 or more"),
    ({"watch": [""]}, "watch/0: "),
    ({"links": "follow"}, "links: should be 'refuse' or 'write-as-files'"),
    ({"links": ["a"]}, "links: should be 'refuse' or 'write-as-files'"),
    ({"links": {"allow": ["../a"]}}, "links/allow/0: should be a path within the release"),
    ({"links": {"allow": "a"}}, "links/allow: should be a list"),
    ({"links": {"refuse": ["a"]}}, "links/refuse: is not known here"),
    ({"limits": {"submodules": -1}}, "limits/submodules: should be 0 or more"),
    ({"limits": {"max_files": 1}}, "limits/max_files: is not known here"),
]


@pytest.mark.parametrize(("fields", "said"), WRONG, ids=[said for _, said in WRONG])
def test_errors_are_reported_with_their_location_and_without_the_value(fields, said):
    with pytest.raises(ConfigurationError) as caught:
        parse(**fields)
    assert said in caught.value.message
    assert "hunter2" not in str(caught.value)
    assert caught.value.message.isprintable()
    page = Path(caught.value.hint.partition(": ")[2]).read_text()
    example = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])
    asked = example["applications"]["shop"]
    assert parse(**{name: asked[name] for name in fields.keys() & asked.keys()})


def test_all_errors_are_reported_at_once_with_their_location():
    with pytest.raises(ConfigurationError) as caught:
        parse_application({"name": "shop", "keep": 0}, where="applications/shop")
    for place in ("provider", "repository", "ref", "target"):
        assert f"applications/shop/{place}: is missing" in caught.value.message
    assert "applications/shop/keep: " in caught.value.message
