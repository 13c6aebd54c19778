"""A plugin that needs a newer deploycore fails with an error that says so."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pydantic import SecretStr, create_model

import deploycore.models
from deploycore.errors import PluginError
from deploycore.models import CloneLink, HostId, Model, NonEmpty, Owner
from deploycore.provider import open_provider
from deploycore.provider.installed import plugin_reports
from deploycore.provider.observers import installed_observers
from deploycore.provider.registry import load_plugin
from deploycore.provider.requirement import needed_release
from deploycore.testing.observers import make_deployment
from deploycore.version import __version__
from tests.distributions import GOOD_PROVIDER

CONFIGURATION = {"name": "work", "token": SecretStr("hunter2-of-the-newer-plugin")}
NEWER = "deploycore<1000,>=99"
NEEDED = f"requires deploycore<1000,>=99, and this is deploycore {__version__}"
OBSERVER = """
from deploycore.hookspecs import hookimpl
SEEN = []

@hookimpl
def deploy_started(deployment):
    SEEN.append(deployment.id)

@hookimpl(OPTIONS)
def hook_of_a_newer_release(something):
    SEEN.append(something)
"""


def point(*requires, error=None):
    """An entry point of a distribution with these requirements."""

    class Distribution:
        @property
        def requires(self):
            if error:
                raise error
            return list(requires) or None

    return SimpleNamespace(dist=Distribution())


@pytest.mark.parametrize(
    ("required", "version", "needed"),
    [
        ("deploycore>=0.2,<1", "0.1.0", "deploycore>=0.2,<1"),
        ("deploycore<1,>=0.2", "0.1.9", "deploycore<1,>=0.2"),
        ("deploycore>=0.2,<1", "0.2.0", ""),
        ("deploycore>=0.2.0", "0.2", ""),
        ("deploycore>=0.2", "0.2.0rc1", ""),
        ("deploycore>=0.10", "0.9", "deploycore>=0.10"),
        ("deploycore (>=0.3)", "0.2", "deploycore>=0.3"),
        ("deploycore[server] >= 0.3", "0.2", "deploycore>= 0.3"),
        ("Deploycore>=1", "0.2", "deploycore>=1"),
        ("deploycore", "0.1", ""),
        ("deploycore<0.1", "0.2", ""),  # pip says that it is too new, if it matters
        ('deploycore[testing]>=9; extra == "dev"', "0.2", ""),
        ("deploycore-bitbucket>=9", "0.2", ""),
        ("pydantic>=2", "0.2", ""),
    ],
)
def test_the_required_release_is_read_from_the_package_requirement(required, version, needed):
    assert needed_release(point("pydantic>=2.7", required), version) == needed


def test_a_plugin_without_readable_requirements_requires_no_release():
    assert needed_release(point()) == ""
    assert needed_release(point(error=ValueError("strange"))) == ""
    assert needed_release(SimpleNamespace(dist=None)) == ""


def test_a_provider_that_requires_a_newer_deploycore_is_not_imported(
    install_distribution, upgrade, tmp_path
):
    source = "raise RuntimeError('it was imported')"
    install_distribution("acme-provider", "acme", source, requires=NEWER)
    with pytest.raises(PluginError, match=NEEDED) as caught:
        load_plugin("acme")
    assert caught.value.hint == "Upgrade deploycore, or install an older release of the plugin."
    report = next(each for each in plugin_reports() if each.kind == "acme")
    assert NEEDED in report.problem.message
    upgrade("acme_provider", GOOD_PROVIDER)
    metadata = tmp_path / "site" / "acme_provider-1.0.dist-info" / "METADATA"
    metadata.write_text("Metadata-Version: 2.1\nName: acme-provider\nVersion: 0.9\n")
    assert load_plugin("acme").label == "acme-provider 0.9"


def test_an_observer_that_requires_a_newer_deploycore_is_skipped(install_distribution, caplog):
    options = {"target": "", "group": "deploycore.observers", "requires": NEWER}
    install_distribution("watcher", "watcher", "raise RuntimeError('imported')", **options)
    assert installed_observers().names == []
    assert NEEDED in caplog.text


def repository_of_0_1():
    """The model of deploycore 0.1, which has neither ``commit_url`` nor the fields before it."""
    return create_model(
        "Repository",
        __base__=Model,
        name=(NonEmpty, ...),
        slug=(NonEmpty, ...),
        url=(NonEmpty, ...),
        owner=(Owner, ...),
        default_branch=(str | None, None),
        private=(bool, True),
        clone_links=(tuple[CloneLink, ...], ()),
        host_id=(HostId | None, None),
    )


def test_an_unknown_field_is_an_error_that_suggests_an_upgrade(install_distribution, monkeypatch):
    newer = GOOD_PROVIDER.replace('slug=f"', 'commit_url="https://x/{commit}", slug=f"')
    install_distribution("acme-provider", "acme", newer)  # its author forgot to require it
    with monkeypatch.context() as patched:
        patched.setattr(deploycore.models, "Repository", repository_of_0_1())
        with (
            open_provider("acme", CONFIGURATION) as provider,
            pytest.raises(PluginError, match="commit_url") as caught,
        ):
            list(provider.list_repos())
    assert f"deploycore {__version__} does not have. Upgrade deploycore" in caught.value.hint


def test_the_same_plugin_works_if_the_field_is_known(install_distribution):
    newer = GOOD_PROVIDER.replace('slug=f"', 'commit_url="https://x/{commit}", slug=f"')
    install_distribution("acme-provider", "acme", newer)
    with open_provider("acme", CONFIGURATION) as provider:
        found = next(iter(provider.list_repos()))
    assert found.url_of_commit("1" * 40) == f"https://x/{'1' * 40}"


def test_an_unknown_hook_is_an_error_that_names_its_version(
    install_distribution,
):
    newer = (
        GOOD_PROVIDER + "\n    @hookimpl\n    def list_planets(self, query):\n        return []\n"
    )
    install_distribution("acme-provider", "acme", newer)
    expected = f"list_planets is marked @hookimpl, but is not a hook .* deploycore {__version__}"
    with pytest.raises(PluginError, match=expected):
        load_plugin("acme")


@pytest.mark.parametrize(("options", "is_used"), [("optionalhook=True", True), ("", False)])
def test_an_observer_may_have_a_newer_hook_marked_as_optional(
    install_distribution, caplog, options, is_used
):
    source = OBSERVER.replace("OPTIONS", options)
    install_distribution("watcher", "watcher", source, target="", group="deploycore.observers")
    observers = installed_observers()
    observers.tell("deploy_started", deployment=make_deployment(id=3))
    import watcher

    seen = list(watcher.SEEN)
    assert seen == ([3] if is_used else [])
    assert ("hook_of_a_newer_release" in caplog.text) is not is_used
