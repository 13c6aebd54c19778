"""What people are shown of a plugin: names, labels and summaries."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

import pytest

from deploycore.configuration import ProviderConfig
from deploycore.provider.display import mode_label, mode_summary, name_from
from deploycore.provider.kinds import installed_kinds
from deploycore.provider.registry import load_plugin
from deploycore.text.labels import label_from


@pytest.mark.parametrize(
    ("kind", "name"), [("harbour", "Harbour"), ("my-forge", "My Forge"), ("a_b", "A B")]
)
def test_a_display_name_is_derived_from_the_kind(kind, name):
    assert name_from(kind) == name


@pytest.mark.parametrize(
    ("given", "shown"),
    [("GitHub", "GitHub")] + [(each, "Gitea") for each in ("", "  ", 5, "a\nb", "x" * 61, None)],
)
def test_a_valid_display_name_of_a_plugin_is_shown(given, shown):
    plugin = load_plugin("gitea")
    named = type("Named", (plugin.provider_class,), {"DISPLAY_NAME": given})
    assert dataclasses.replace(plugin, provider_class=named).display_name == shown


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("app-password", "App password"),
        ("oauth-client", "OAuth client"),
        ("ssh_key", "SSH key"),
        ("personal api-token", "Personal API token"),
        ("LDAP", "LDAP"),
        ("-", ""),
        ("", ""),
    ],
)
def test_a_label_is_made_from_a_name(name, label):
    assert label_from(name) == label


def test_a_mode_of_a_plugin_without_labels_is_described_by_its_name_and_docstring():
    class Deploying(ProviderConfig):
        """A ``token`` for git,
        which belongs to nobody. The rest is for developers."""

        mode: Literal["deploy-token"]

    class Inheriting(Deploying):
        mode: Literal["more", "other"]

    assert mode_label(Deploying, "deploy-token", ["deploy-token"]) == "Deploy token"
    assert mode_summary(Deploying) == "A `token` for git, which belongs to nobody."
    assert mode_summary(Inheriting) == ""  # a docstring is not inherited


@pytest.mark.parametrize(
    "text", ["A :class:`Token`.", "a\x1bb", "x" * 301, "", None], ids=["role", "escape", *"123"]
)
def test_a_docstring_that_people_cannot_read_is_not_shown(text):
    member = type("Odd", (ProviderConfig,), {"__doc__": text})
    assert mode_summary(member) == ""


def test_a_label_of_a_class_with_several_modes_names_none_of_them():
    class Both(ProviderConfig):
        MODE_LABEL: ClassVar[str] = "Both"
        MODE_SUMMARY: ClassVar[str] = "One of two."

        mode: Literal["one", "two"]

    assert mode_label(Both, "one", ["one", "two"]) == "One"
    assert mode_label(Both, "one", ["one"]) == "Both"
    assert mode_summary(Both) == "One of two."


@pytest.mark.parametrize("given", [5, "a\nb", "  "])
def test_an_invalid_summary_of_a_plugin_is_not_shown(given):
    plugin = load_plugin("gitea")
    named = type("Named", (plugin.provider_class,), {"SUMMARY": given})
    assert dataclasses.replace(plugin, provider_class=named).summary == ""
    assert "Forgejo" in plugin.summary


def test_each_mode_of_our_plugins_has_a_label_and_a_summary():
    modes = [mode for kind in installed_kinds() for mode in kind.modes if mode.name]
    assert len({mode.name for mode in modes}) > 10
    assert all(mode.label and mode.summary.endswith(".") for mode in modes)
