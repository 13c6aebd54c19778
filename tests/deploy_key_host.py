"""A git host with deploy keys, for tests: the keys that it has, and what a provider stores."""

from __future__ import annotations

from types import SimpleNamespace

from deploycore.errors import KeyRefused
from deploycore.events import RegisteredKey
from deploycore.installation.deploy_keys import DeployKeys
from deploycore.ssh.keys import read_private_key

__all__ = ["Changes", "Host", "keys_at_host", "public_of"]


class Host:
    """The keys that a host has for one repository, and a handle on it as a provider's."""

    name = "work"
    plugin = SimpleNamespace(kind="acme", label="acme 1.0")

    def __init__(self):
        self.keys = {}
        self.missing_hooks = ()
        self.refusal = None
        self.given = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def supports(self, hook):
        return hook not in self.missing_hooks

    def deploy_keys_page(self, repository):
        return f"https://acme.example/{repository}"

    def use_ssh_key(self, key, *, replace_with=""):
        self.given = public_of(key)

    def add_deploy_key(self, repository, key):
        if self.refusal:
            raise self.refusal
        for number, known in self.keys.items():
            if known == key.public_key:
                return RegisteredKey(id=number, public_key=known)
        number = str(len(self.keys) + 1 + max(map(int, self.keys), default=0))
        self.keys[number] = key.public_key
        return RegisteredKey(id=number, public_key=key.public_key)

    def list_deploy_keys(self, repository):
        return [RegisteredKey(id=each, public_key=key) for each, key in self.keys.items()]

    def remove_deploy_key(self, repository, key_id):
        if self.refusal:
            raise self.refusal
        return self.keys.pop(key_id, None) is not None


class Changes:
    """Changes of the provider's secrets, as they are stored."""

    def __init__(self):
        self.key = None

    def plan(self, name, settings, secrets):
        return secrets["ssh_private_key"]

    def store(self, change):
        self.key = change


def public_of(key):
    text = read_private_key(key, None).export_public_key().decode()
    return " ".join(text.split()[:2])


def keys_at_host(installation, monkeypatch) -> Host:
    """Have an installation make its deploy keys at a host of this module; gives the host."""
    host = Host()

    def prove(self, provider, repository):
        if host.given not in host.keys.values():
            raise KeyRefused("The key is not accepted.")

    monkeypatch.setattr(DeployKeys, "_prove", prove)
    store, secrets = installation.store, installation.secrets
    keys = DeployKeys(store, secrets, lambda name: host, Changes(), None)
    installation.__dict__["deploy_keys"] = keys
    return host
