"""The name of a kind of providers for people."""

from __future__ import annotations

import dataclasses

import pytest

from deploycore.provider.registry import display_name_of, load_plugin


@pytest.mark.parametrize(
    ("kind", "name"), [("harbour", "Harbour"), ("my-forge", "My Forge"), ("a_b", "A B")]
)
def test_a_display_name_is_derived_from_the_kind(kind, name):
    assert display_name_of(kind) == name


@pytest.mark.parametrize(
    ("given", "shown"),
    [("GitHub", "GitHub")] + [(each, "Gitea") for each in ("", "  ", 5, "a\nb", "x" * 61, None)],
)
def test_a_valid_display_name_of_a_plugin_is_shown(given, shown):
    plugin = load_plugin("gitea")
    named = type("Named", (plugin.provider_class,), {"DISPLAY_NAME": given})
    assert dataclasses.replace(plugin, provider_class=named).display_name == shown
