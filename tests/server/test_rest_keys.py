"""Deploy keys over REST: the private key never leaves the server."""

from __future__ import annotations

import pytest

from deploycore.errors import PermissionDenied, ProviderUnavailable
from deploycore.installation import deploy_keys as making
from tests.deploy_key_host import keys_at_host

V1 = "/api/v1"
OF_APPLICATION = "/applications/shop/deploy-keys"
OF_PROVIDER = "/providers/work/deploy-keys"


@pytest.fixture
def host(installation, monkeypatch):
    """The host of the provider ``work``, in place of the plugin's."""
    return keys_at_host(installation, monkeypatch)


@pytest.fixture
def private_keys(monkeypatch):
    """The private keys that were made, by the type that was wanted. All are Ed25519, because RSA
    takes a second."""
    made = []
    real = making.make_key_pair

    def make(kind):
        private, public = real("ed25519")
        made.append((kind, private))
        return private, public

    monkeypatch.setattr(making, "make_key_pair", make)
    return made


@pytest.fixture
def api(client, host, private_keys, token):
    """Sends a request as an administrator. No response has a part of a private key."""
    admin = token("admin")
    received = []

    def send(method, path, body=None):
        answer = client.request(method, f"{V1}{path}", json=body, headers=admin)
        received.append(answer.text)
        return answer

    yield send
    lines = [line for _, key in private_keys for line in key.get_secret_value().split("\n")]
    for line in (each for each in lines if each and "OPENSSH" not in each):
        assert not any(line in text for text in received)


@pytest.mark.parametrize("path", [OF_APPLICATION, OF_PROVIDER])
def test_a_key_is_created_listed_replaced_and_removed(api, host, private_keys, path):
    name, noun = ("shop", "application") if path == OF_APPLICATION else ("work", "provider")
    made = api("POST", path, {"type": "ed25519"}).json()
    assert made["key"]["public_key"] in host.keys.values()
    assert made["key"]["fingerprint"].startswith("SHA256:")
    assert (made["key"]["name"], made["key"]["of"]) == (name, noun)
    assert (made["key"]["state"], made["by_hand"], made["remains"]) == ("live", None, [])
    assert list(made["key"]["registered"]) == ["acme/shop"]
    again = api("POST", path)
    assert (again.status_code, "key rotate" in again.json()["hint"]) == (409, True)
    replaced = api("POST", f"{path}/rotate", {"type": "rsa"}).json()
    assert [kind for kind, _ in private_keys] == ["ed25519", "rsa"]
    [listed] = api("GET", path).json()["items"]
    assert listed["public_key"] == replaced["key"]["public_key"]
    assert api("GET", "/deploy-keys").json()["items"] == [listed]
    other = OF_PROVIDER if path == OF_APPLICATION else OF_APPLICATION
    assert api("GET", other).json() == {"items": []}
    assert api("DELETE", path).json() == {"remains": []}
    assert host.keys == {}


def test_a_key_without_permission_to_register_it_is_added_by_hand(api, host):
    host.refusal = PermissionDenied("The token may not.", hint="Add a scope.")
    shown = api("POST", OF_APPLICATION).json()
    assert (shown["key"]["state"], shown["by_hand"]) == ("new", "The token may not. Add a scope.")
    assert shown["pages"] == ["https://acme.example/acme/shop"]
    assert [each["use"] for each in api("GET", OF_APPLICATION).json()["items"]] == ["waiting"]
    host.keys["7"] = shown["key"]["public_key"]
    assert api("POST", OF_APPLICATION).json()["key"]["state"] == "live"
    assert api("DELETE", OF_APPLICATION).json()["remains"] != []


def test_a_key_that_the_host_keeps_stays_listed(api, host):
    api("POST", OF_APPLICATION)
    real = host.remove_deploy_key

    def refuse(*arguments):
        raise ProviderUnavailable("The host is down.", hint="Try again.")

    host.remove_deploy_key = refuse
    remains = api("POST", f"{OF_APPLICATION}/rotate").json()["remains"]
    assert [each["error"] for each in remains] == ["The host is down."]
    assert [each["use"] for each in api("GET", OF_APPLICATION).json()["items"]] == [
        "left over",
        "in use",
    ]
    refused = api("DELETE", f"{OF_APPLICATION}?left_over=true")
    assert (refused.status_code, refused.json()["code"]) == (503, "provider_unavailable")
    host.remove_deploy_key = real
    assert api("DELETE", f"{OF_APPLICATION}?left_over=true").json() == {"remains": []}
    kept = api("DELETE", f"{OF_APPLICATION}?keep_at_host=true").json()["remains"]
    assert "acme/shop" in kept[0]
    assert len(host.keys) == 1


def test_missing_owners_and_keys_are_not_found(api):
    for path in ("/applications/nope/deploy-keys", "/providers/nope/deploy-keys"):
        for method, more in (("GET", ""), ("POST", ""), ("POST", "/rotate"), ("DELETE", "")):
            answer = api(method, path + more)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    for method, more in (("POST", "/rotate"), ("DELETE", "")):
        answer = api(method, OF_APPLICATION + more)
        assert (answer.status_code, "key create shop" in answer.json()["hint"]) == (404, True)


def test_the_repositories_of_a_provider_key_are_named(api, host, installation):
    installation.store.remove_application("shop")
    nothing = api("POST", OF_PROVIDER)
    assert (nothing.status_code, "--repository" in nothing.json()["hint"]) == (422, True)
    invalid = api("POST", OF_PROVIDER, {"repositories": ["blog"]})
    assert (invalid.status_code, "OWNER/REPOSITORY" in invalid.json()["hint"]) == (422, True)
    made = api("POST", OF_PROVIDER, {"repositories": ["acme/blog"]}).json()
    assert list(made["key"]["registered"]) == ["acme/blog"]
    assert api("POST", OF_APPLICATION, {"repositories": []}).status_code in (404, 422)


def test_changes_of_keys_are_in_the_audit_log(api):
    api("POST", OF_APPLICATION)
    api("DELETE", OF_APPLICATION)
    entries = api("GET", "/audit").json()["items"]
    found = [(each["operation"], each["kind"], each["subject"]) for each in entries]
    assert found == [
        ("remove_application_keys", "application", "shop"),
        ("create_application_key", "application", "shop"),
    ]
