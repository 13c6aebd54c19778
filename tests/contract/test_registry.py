"""What is found among installed distributions, and what is refused, by name and reason."""

from __future__ import annotations

import sys

import pytest

from deploycore.errors import ConfigurationError, PluginError
from deploycore.registry import load_plugin, normalise_kind, plugin_reports


def test_a_good_plugin_loads_with_its_hooks_and_origin(install_distribution, good_provider):
    install_distribution("acme-provider", "acme", good_provider)
    plugin = load_plugin("acme")
    assert plugin.hooks == ("authenticate", "list_repos", "list_branches", "clone_url")
    assert plugin.label == "acme-provider 1.0"
    assert plugin.origin == "acme_provider:AcmeProvider"


@pytest.mark.parametrize("spelling", ["git_hub", "Git-Hub", "git.hub", " git--hub "])
def test_the_spelling_of_a_kind_is_normalised(install_distribution, good_provider, spelling):
    install_distribution("acme-provider", "Git_Hub", good_provider)
    assert load_plugin(spelling).kind == "git-hub" == normalise_kind(spelling)


def test_loading_one_kind_imports_no_other_plugin(install_distribution, good_provider):
    install_distribution("acme-provider", "acme", good_provider)
    install_distribution("other-provider", "other", "raise RuntimeError('imported')")
    load_plugin("acme")
    assert "other_provider" not in sys.modules


def test_an_unknown_kind_names_what_is_installed(install_distribution, good_provider):
    install_distribution("acme-provider", "acme", good_provider)
    with pytest.raises(ConfigurationError, match=r"'nope'.*acme"):
        load_plugin("nope")


def test_two_distributions_of_one_kind_are_both_named(install_distribution, good_provider):
    install_distribution("acme-provider", "acme", good_provider)
    install_distribution("rival-provider", "ACME", good_provider, version="2.0")
    with pytest.raises(PluginError, match=r"acme-provider 1\.0 and rival-provider 2\.0"):
        load_plugin("acme")


FAULTS = {
    "a failing import": (
        ("class AcmeProvider", "import no_such_module\nclass A"),
        "no_such_module",
    ),
    "an import that exits": (("class AcmeProvider", "raise SystemExit(3)\nclass A"), "SystemExit"),
    "a syntax error": (("class AcmeProvider:", "class AcmeProvider"), "SyntaxError"),
    "a missing class": (("class AcmeProvider", "class Renamed"), "AcmeProvider"),
    "a missing hook": (
        ("    @hookimpl\n    def authenticate", "    def _authenticate"),
        "required hook authenticate is missing",
    ),
    "an unmarked hook": (
        ("    @hookimpl\n    def clone_url", "    def clone_url"),
        "clone_url lacks @hookimpl",
    ),
    "a mistyped hook": (("def list_repos", "def list_repositories"), "no such hook"),
    "a missing parameter": (
        ("def list_branches(self, repository, query)", "def list_branches(self, repository)"),
        r"list_branches\(self, repository\) should be list_branches\(self, repository, query\)",
    ),
    "a surplus parameter": (
        ("def authenticate(self)", "def authenticate(self, more)"),
        "should be",
    ),
    "a defaulted parameter": (
        ("def list_repos(self, query)", "def list_repos(self, query=None)"),
        "without defaults",
    ),
    "an asynchronous hook": (
        ("def authenticate(self)", "async def authenticate(self)"),
        "authenticate is asynchronous",
    ),
    "no version": (("API_VERSION = 1", ""), "has no API_VERSION"),
    "a newer contract": (("API_VERSION = 1", "API_VERSION = 2"), "upgrade deploycore"),
    "an older contract": (("API_VERSION = 1", "API_VERSION = 0"), "newer release of the plugin"),
    "no configuration": (("Config = AcmeConfig", ""), "has no Config"),
    "a foreign configuration": (("Config = AcmeConfig", "Config = dict"), "ProviderConfig"),
    "a secret that is not resolved": (
        ("token: SecretStr", 'token: "SecretThatIsNotImported"'),
        "can't be resolved",
    ),
    "a wrong constructor": (("__init__(self, config, http)", "__init__(self)"), "__init__"),
}


@pytest.mark.parametrize(("change", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_a_faulty_plugin_is_refused_by_name_and_reason(
    install_distribution, good_provider, change, reason
):
    assert change[0] in good_provider
    install_distribution("acme-provider", "acme", good_provider.replace(*change))
    with pytest.raises(PluginError, match=reason) as caught:
        load_plugin("acme")
    assert "acme-provider 1.0" in str(caught.value)


def test_an_entry_point_that_names_an_instance_is_refused(install_distribution, good_provider):
    source = good_provider + "\nINSTANCE = object()\n"
    install_distribution("acme-provider", "acme", source, target="INSTANCE")
    with pytest.raises(PluginError, match="names a object, not a provider class"):
        load_plugin("acme")


def test_reports_cover_broken_plugins_and_leave_the_good_one_usable(
    install_distribution, good_provider
):
    install_distribution("acme-provider", "acme", good_provider)
    install_distribution("broken-provider", "broken", "import no_such_module")
    install_distribution("old-provider", "old", good_provider.replace("VERSION = 1", "VERSION = 0"))
    reports = {report.kind: report for report in plugin_reports()}
    assert reports["acme"].problem is None
    assert reports["acme"].plugin.provider_class.__name__ == "AcmeProvider"
    assert reports["broken"].plugin is None
    assert "no_such_module" in reports["broken"].problem.message
    assert "version 0" in reports["old"].problem.message
    assert reports["old"].distributions == ("old-provider 1.0",)
