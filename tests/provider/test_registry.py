"""Plugins that are found among installed distributions, and plugins that are rejected with a
reason."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from deploycore.errors import ConfigurationError, PluginError
from deploycore.provider import registry
from deploycore.provider.installed import plugin_reports
from deploycore.provider.registry import load_plugin, normalise_kind


def uninstall(directory: Path, release: str) -> None:
    shutil.rmtree(directory / "site" / f"{release}.dist-info")
    importlib.invalidate_caches()


def test_a_valid_plugin_loads_with_its_hooks_and_origin(install_distribution, good_provider):
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


def test_the_error_for_an_unknown_kind_lists_the_installed_kinds(
    install_distribution, good_provider
):
    install_distribution("acme-provider", "acme", good_provider)
    with pytest.raises(ConfigurationError, match=r"'nope'.*acme") as caught:
        load_plugin("nope")
    assert "install the plugin's distribution" in caught.value.hint
    install_distribution("nope-provider", "nope", good_provider)
    assert load_plugin("nope").kind == "nope"


def test_two_distributions_of_the_same_kind_are_both_named(
    install_distribution, good_provider, tmp_path
):
    install_distribution("acme-provider", "acme", good_provider)
    install_distribution("rival-provider", "ACME", good_provider, version="2.0")
    with pytest.raises(PluginError, match=r"acme-provider 1\.0 and rival-provider 2\.0") as caught:
        load_plugin("acme")
    assert caught.value.hint == "Uninstall all but one of them."
    uninstall(tmp_path, "rival_provider-2.0")
    assert load_plugin("acme").label == "acme-provider 1.0"


FAULTS = {
    "a failing import": (
        ("class AcmeProvider", "import no_such_module\nclass A"),
        "no_such_module",
    ),
    "an import that exits": (("class AcmeProvider", "raise SystemExit(3)\nclass A"), "SystemExit"),
    "an import that is cancelled": (
        ("class AcmeProvider", "import asyncio\nraise asyncio.CancelledError\nclass A"),
        "CancelledError",
    ),
    "an import that is skipped": (
        ("class AcmeProvider", "class Skipped(BaseException): ...\nraise Skipped('no')\nclass A"),
        "Skipped: no",
    ),
    "an import that pretends an interrupt": (
        ("class AcmeProvider", "raise KeyboardInterrupt\nclass A"),
        "KeyboardInterrupt",
    ),
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
    "a mistyped hook": (("def list_repos", "def list_repositories"), "not a hook of the contract"),
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
        "cannot be resolved",
    ),
    "a wrong constructor": (("__init__(self, config, http)", "__init__(self)"), "__init__"),
}


@pytest.mark.parametrize(("change", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_an_invalid_plugin_is_rejected_with_its_name_and_the_reason(
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


def test_plugin_reports_include_broken_plugins_and_keep_others_usable(
    install_distribution, good_provider
):
    install_distribution("acme-provider", "acme", good_provider)
    install_distribution("broken-provider", "broken", "import no_such_module")
    install_distribution("old-provider", "old", good_provider.replace("VERSION = 1", "VERSION = 0"))
    reports = {report.kind: report for report in plugin_reports()}
    assert reports["acme"].problem is None
    assert reports["acme"].contract_version == 1
    assert reports["acme"].hooks == ("authenticate", "list_repos", "list_branches", "clone_url")
    assert reports["broken"].contract_version is None
    assert "no_such_module" in reports["broken"].problem.message
    assert reports["old"].contract_version == 0
    assert "version 0" in reports["old"].problem.message
    assert [origin.label for origin in reports["old"].origins] == ["old-provider 1.0"]


def test_a_hanging_import_is_named_and_does_not_block_other_plugins(
    install_distribution, good_provider, until_the_end, monkeypatch
):
    monkeypatch.setattr(registry, "LISTED_SECONDS", 0.2)
    for name, kind in (("a-hanging", "a"), ("z-hanging", "z")):
        install_distribution(name, kind, until_the_end)
    install_distribution("acme-provider", "m", good_provider)
    install_distribution("audit", "audit", until_the_end, target="", group="deploycore.observers")
    reports = {report.kind: report for report in plugin_reports()}
    for kind, label in (("a", "a-hanging 1.0"), ("z", "z-hanging 1.0"), ("audit", "audit 1.0")):
        problem = reports[kind].problem
        assert f"plugin {label} cannot be imported" in problem.message
        assert "the import did not end within 0.2 s" in problem.message
    assert reports["m"].problem is None
    assert load_plugin("m").label == "acme-provider 1.0"


def test_loading_a_required_plugin_whose_import_hangs_times_out(
    install_distribution, good_provider, until_the_end, monkeypatch, tmp_path
):
    monkeypatch.setattr(registry, "NEEDED_SECONDS", 0.2)
    install_distribution("hanging", "acme", until_the_end)
    with pytest.raises(PluginError, match=r"hanging 1\.0 .*did not end within 0\.2 s") as caught:
        load_plugin("acme")
    assert (caught.value.details["hook"], caught.value.details["plugin"]) == (
        "import",
        "hanging 1.0",
    )
    assert "Upgrade or uninstall the plugin" in caught.value.hint
    uninstall(tmp_path, "hanging-1.0")
    install_distribution("acme-provider", "acme", good_provider)
    assert load_plugin("acme").label == "acme-provider 1.0"


@pytest.mark.parametrize(("change", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_an_invalid_plugin_is_listed_with_the_reason_and_the_others(
    install_distribution, good_provider, upgrade, change, reason
):
    install_distribution("faulty-provider", "faulty", good_provider.replace(*change))
    install_distribution("other-provider", "other", good_provider)
    reports = {report.kind: report for report in plugin_reports()}
    assert re.search(reason, reports["faulty"].problem.message)
    assert "faulty-provider 1.0" in reports["faulty"].problem.message
    assert reports["other"].problem is None
    assert "upgrade" in reports["faulty"].problem.hint.lower()
    upgrade("faulty_provider", good_provider)
    assert load_plugin("faulty").label == "faulty-provider 1.0"


def test_conflicting_plugins_are_listed_with_all_their_distributions(
    install_distribution, good_provider
):
    install_distribution("acme-provider", "acme", good_provider)
    install_distribution("rival-provider", "ACME", good_provider, version="2.0")
    (report,) = (each for each in plugin_reports() if each.kind == "acme")
    assert {origin.label for origin in report.origins} == {
        "acme-provider 1.0",
        "rival-provider 2.0",
    }
    assert "cannot choose between them" in report.problem.message


def test_output_of_a_plugin_import_goes_to_standard_error(
    install_distribution, good_provider, capsys
):
    install_distribution("loud-provider", "loud", "print('I am loud')\n" + good_provider)
    before = sys.stdout
    assert load_plugin("loud").kind == "loud"
    assert sys.stdout is before
    print("an answer")
    assert capsys.readouterr() == ("an answer\n", "I am loud\n")


def test_other_threads_print_normally_while_an_import_hangs(
    install_distribution, until_the_end, monkeypatch, capsys
):
    monkeypatch.setattr(registry, "LISTED_SECONDS", 0.2)
    install_distribution("hanging", "slow", "print('before', flush=True)\n" + until_the_end)
    (found,) = (report for report in plugin_reports() if report.kind == "slow")
    assert "did not end" in found.problem.message
    print("an answer")
    assert capsys.readouterr() == ("an answer\n", "before\n")


def test_a_class_that_cannot_be_inspected_is_named(install_distribution, good_provider, upgrade):
    source = (
        good_provider
        + """
class Meta(type):
    def __getattribute__(cls, name):
        raise RuntimeError("look away")

class Hostile(metaclass=Meta):
    pass
"""
    )
    install_distribution("hostile-provider", "hostile", source, target="Hostile")
    (report,) = (each for each in plugin_reports() if each.kind == "hostile")
    assert "hostile-provider 1.0 cannot be inspected: RuntimeError" in report.problem.message
    with pytest.raises(PluginError, match="cannot be inspected") as caught:
        load_plugin("hostile")
    assert "Upgrade the plugin" in caught.value.hint
    upgrade("hostile_provider", good_provider.replace("AcmeProvider", "Hostile"))
    assert load_plugin("hostile").label == "hostile-provider 1.0"


@pytest.mark.parametrize(
    ("said", "shown"), [("'two'", "'two'"), ("7", 7), ("(1, 2)", "(1, 2)"), ("None", None)]
)
def test_the_contract_version_is_shown_as_the_plugin_states_it(
    install_distribution, good_provider, said, shown
):
    changed = good_provider.replace("API_VERSION = 1", f"API_VERSION = {said}")
    install_distribution("acme-provider", "acme", changed)
    (report,) = (each for each in plugin_reports() if each.kind == "acme")
    assert report.contract_version == shown
    assert report.problem is not None


def test_observers_and_sandboxes_are_listed_with_their_state(install_distribution, upgrade):
    observer = """
from deploycore.hookspecs import hookimpl
@hookimpl
def provider_call_started(call):
    pass
@hookimpl
def deploy_finished(deployment, error):
    pass
"""
    mistyped = observer.replace("deploy_finished", "deploy_ended")
    install_distribution("audit", "audit", observer, target="", group="deploycore.observers")
    install_distribution("typo", "typo", mistyped, target="", group="deploycore.observers")
    bare = "class Bare: pass"
    install_distribution("bare", "bare", bare, target="Bare", group="deploycore.sandboxes")
    reports = {(report.type, report.kind): report for report in plugin_reports()}
    assert set(reports["observer", "audit"].hooks) == {"provider_call_started", "deploy_finished"}
    assert reports["observer", "audit"].problem is None
    assert "plugin typo 1.0 cannot be used" in reports["observer", "typo"].problem.message
    assert "deploy_ended" in reports["observer", "typo"].problem.message
    assert "Upgrade the plugin" in reports["observer", "typo"].problem.hint
    assert "plugin bare 1.0 cannot be used" in reports["sandbox", "bare"].problem.message
    assert "It has no demo, url, connections" in reports["sandbox", "bare"].problem.message
    upgrade("typo", observer)
    (report,) = (each for each in plugin_reports() if each.kind == "typo")
    assert report.problem is None


def test_the_location_of_a_distribution_and_whether_it_is_editable_is_shown(
    install_distribution, good_provider, tmp_path
):
    install_distribution("acme-provider", "acme", good_provider)
    install_distribution("edited-provider", "edited", good_provider)
    direct = {"url": (tmp_path / "source tree").as_uri(), "dir_info": {"editable": True}}
    metadata = tmp_path / "site" / "edited_provider-1.0.dist-info"
    (metadata / "direct_url.json").write_text(json.dumps(direct))
    reports = {report.kind: report.origins[0] for report in plugin_reports()}
    assert Path(reports["acme"].location) == tmp_path / "site"
    assert not reports["acme"].is_editable
    assert Path(reports["edited"].location) == tmp_path / "source tree"
    assert reports["edited"].is_editable
