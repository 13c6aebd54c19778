"""Hints about the installation: commands that work, existing pages, and an address."""

from __future__ import annotations

import json
from email.message import Message
from importlib import metadata
from pathlib import Path

import pytest

from deploycore.distribution import documentation_page, install_command, report_hint


@pytest.fixture
def installed(monkeypatch):
    """Has deploycore's metadata say where it was installed from, and which addresses it has."""

    def say(direct_url=None, urls=()):
        class Distribution:
            def read_text(self, name):
                return json.dumps(direct_url) if direct_url is not None else None

        message = Message()
        for url in urls:
            message["Project-URL"] = url
        monkeypatch.setattr(metadata, "distribution", lambda name: Distribution())
        monkeypatch.setattr(metadata, "metadata", lambda name: message)

    return say


@pytest.mark.parametrize(
    ("direct_url", "command"),
    [
        (None, "pip install 'deploycore[server]'"),
        (
            {"url": "file:///src/deploycore", "dir_info": {}},
            "pip install '/src/deploycore[server]'",
        ),
        (
            {"url": "file:///src/my%20clone", "dir_info": {"editable": True}},
            "pip install -e '/src/my clone[server]'",
        ),
        (
            {"url": "file:///tmp/deploycore-1.whl", "archive_info": {}},
            "pip install '/tmp/deploycore-1.whl[server]'",
        ),
        ({"url": "https://packages.acme.example/d.whl"}, "pip install 'deploycore[server]'"),
        ("nonsense", "pip install 'deploycore[server]'"),
    ],
)
def test_an_extra_is_installed_from_the_source_of_deploycore(installed, direct_url, command):
    installed(direct_url)
    assert install_command("server") == command


def test_without_an_extra_the_command_only_names_the_distribution(installed):
    installed()
    assert install_command() == "pip install deploycore"


def test_a_documentation_page_named_in_a_hint_exists():
    page = Path(documentation_page("applications.md"))
    assert page.is_absolute()
    assert page.read_text().startswith("# ")


def test_bugs_are_reported_to_the_address_in_the_package_metadata(installed):
    installed(urls=["Homepage, https://acme.example/", "Issues, https://acme.example/issues"])
    assert report_hint().endswith(": https://acme.example/issues")


@pytest.mark.parametrize("urls", [[], ["Homepage, https://acme.example/"]])
def test_without_an_address_bugs_are_reported_to_the_maintainer(installed, urls):
    installed(urls=urls)
    assert "the administrator of this installation" in report_hint()
