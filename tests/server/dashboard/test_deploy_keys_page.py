"""The pages of deploy keys, and the form that accepts a new repository."""

from __future__ import annotations

import pytest

from deploycore.errors import PermissionDenied, ProviderUnavailable
from tests.deploy_key_host import keys_at_host

OF_APPLICATION = "/applications/shop/deploy-keys"
OF_PROVIDER = "/providers/work/deploy-keys"


@pytest.fixture
def host(installation, secret, monkeypatch):
    """The host of the provider ``work``, in place of the plugin's."""
    return keys_at_host(installation, monkeypatch)


@pytest.mark.parametrize("path", [OF_APPLICATION, OF_PROVIDER])
def test_a_key_is_created_replaced_and_removed(browser, host, installation, path):
    assert "No deploy keys yet" in browser.get(path).text
    made = browser.send(path, page=path, action="create", type="ed25519", repositories="acme/shop")
    assert made.history[0].headers["location"] == f"{path}?done=key-created"
    [key] = installation.store.deploy_keys.list()
    assert key.public_key in made.text
    assert "SHA256:" in made.text
    assert "PRIVATE KEY" not in made.text
    replaced = browser.send(path, page=path, action="rotate")
    assert "The key is replaced" in replaced.text
    [new] = installation.store.deploy_keys.list()
    assert new.public_key != key.public_key
    removed = browser.send(path, page=path, action="remove")
    assert "The keys are removed, here and at the git host." in removed.text
    assert (host.keys, installation.store.deploy_keys.list()) == ({}, [])


def test_a_key_to_add_by_hand_is_shown_with_the_reason(browser, host):
    host.refusal = PermissionDenied("The <token> may not.", hint="Add a scope.")
    shown = browser.send(OF_APPLICATION, page=OF_APPLICATION, action="create")
    assert "The &lt;token&gt; may not. Add a scope." in shown.text
    assert 'href="https://acme.example/acme/shop"' in shown.text
    assert "Waiting" in browser.get(OF_APPLICATION).text
    [key] = browser.client.get("/api/v1/deploy-keys").json()["items"]
    assert key["public_key"] in shown.text
    host.keys["7"] = key["public_key"]
    done = browser.send(OF_APPLICATION, page=OF_APPLICATION, action="create")
    assert "The key is created, and git uses it." in done.text
    removed = browser.send(OF_APPLICATION, page=OF_APPLICATION, action="remove")
    assert "Remove this at the git host yourself" in removed.text


def test_a_previous_key_that_the_host_keeps_is_shown(browser, host):
    browser.send(OF_APPLICATION, page=OF_APPLICATION, action="create")
    real = host.remove_deploy_key

    def refuse(*arguments):
        raise ProviderUnavailable("The host is down.", hint="Try again.")

    host.remove_deploy_key = refuse
    replaced = browser.send(OF_APPLICATION, page=OF_APPLICATION, action="rotate")
    assert "The git host still has previous keys" in replaced.text
    assert "The host is down." in replaced.text
    failed = browser.send(OF_APPLICATION, page=OF_APPLICATION, action="remove", left_over="on")
    assert (failed.status_code, "The host is down." in failed.text) == (503, True)
    host.remove_deploy_key = real
    browser.send(OF_APPLICATION, page=OF_APPLICATION, action="remove", left_over="on")
    assert "Left over" not in browser.get(OF_APPLICATION).text


def test_errors_and_unknown_actions_are_reported(browser, host):
    missing = browser.send(OF_APPLICATION, action="rotate")
    assert (missing.status_code, "has no deploy key" in missing.text) == (422, True)
    assert browser.send(OF_APPLICATION, action="explode").status_code == 400
    assert browser.get("/applications/nothere/deploy-keys").status_code == 404
    invalid = browser.send(OF_PROVIDER, action="create", repositories="blog")
    assert (invalid.status_code, "does not name a repository" in invalid.text) == (422, True)


def test_only_administrators_see_the_forms(acting_as, host):
    browser = acting_as("deploy")
    text = browser.get(OF_APPLICATION).text
    assert "No deploy keys yet" in text
    assert 'name="action"' not in text


def test_a_new_repository_is_accepted_on_the_page_of_the_application(
    browser, installation, secret, acting_as
):
    definition = installation.store.get_application("shop").definition
    button = "Accept the new repository"
    assert button not in browser.get("/applications/shop").text
    installation.store.repositories.learn(definition, "17")
    installation.store.repositories.note_other(definition, "18")
    page = browser.get("/applications/shop").text
    assert "Another repository has the name acme/shop now" in page
    assert button in page
    done = browser.send("/applications/shop/accept-repository")
    assert "The next deployment uses the new repository." in done.text
    assert button not in done.text
    assert installation.store.repositories.find(definition) is None
    installation.store.repositories.note_other(definition, "18")
    assert "Ask an administrator" in acting_as("deploy").get("/applications/shop").text
