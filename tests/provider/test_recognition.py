"""``provider add`` reads the kind, the server and the owner from a repository's address."""

from __future__ import annotations

from functools import partial

import pytest

from deploycore.applications.repository_address import read_repository
from deploycore.cli.pasted_address import pasted_address, plugin_for
from deploycore.cli.usage import UsageError
from deploycore.errors import ConfigurationError, PluginError
from deploycore.provider.recognition import (
    acceptances,
    clean_address,
    fields_by,
    recognitions,
    repository_by,
)
from deploycore.provider.registry import check_provider_class, load_plugin

CLOUD, CENTER = "bitbucket", "bitbucket-datacenter"
HOST = "https://git.example.com"

KNOWN = {
    "https://bitbucket.org/acme/shop": (CLOUD, {"workspace": "acme"}),
    "https://ada@bitbucket.org/acme/shop.git": (CLOUD, {"workspace": "acme"}),
    "git@bitbucket.org:acme/shop.git": (CLOUD, {"workspace": "acme"}),
    "ssh://git@altssh.bitbucket.org:443/acme/shop.git": (CLOUD, {"workspace": "acme"}),
    "https://bitbucket.org/acme/shop/commits/branch/main": (CLOUD, {"workspace": "acme"}),
    "https://bitbucket.org": (CLOUD, {}),
    f"{HOST}/scm/prj/repo.git": (CENTER, {"url": HOST, "project": "PRJ"}),
    f"{HOST}/bitbucket/scm/~ada/x.git": (CENTER, {"url": f"{HOST}/bitbucket", "project": "~ada"}),
    f"{HOST}:7990/projects/PRJ/repos/x/browse?at=refs%2Fheads%2Fmain": (
        CENTER,
        {"url": f"{HOST}:7990", "project": "PRJ"},
    ),
    f"{HOST}/users/ada/repos/x": (CENTER, {"url": HOST, "project": "~ada"}),
    f"{HOST}/projects/~ada/repos/x": (CENTER, {"url": HOST, "project": "~ada"}),
    "ssh://git@git.example.com:7999/prj/repo.git": (CENTER, {"project": "PRJ"}),
    "https://github.com/acme/shop": ("github", {"owner": "acme"}),
    "https://github.com/scm/shop/tree/main": ("github", {"owner": "scm"}),
    "git@github.com:acme/shop.git": ("github", {"owner": "acme"}),
    "https://acme.ghe.com/web/shop": ("github", {"url": "https://acme.ghe.com", "owner": "web"}),
    "https://gitlab.com/acme/web/shop.git": ("gitlab", {"namespace": "acme/web"}),
    "https://gitlab.com/acme/shop/-/tree/main": ("gitlab", {"namespace": "acme"}),
    "git@gitlab.example.com:acme/shop.git": (
        "gitlab",
        {"url": "https://gitlab.example.com", "namespace": "acme"},
    ),
    f"{HOST}/acme/shop/-/issues": ("gitlab", {"url": HOST, "namespace": "acme"}),
    "https://codeberg.org/forgejo/forgejo": (
        "gitea",
        {"url": "https://codeberg.org", "owner": "forgejo"},
    ),
    "https://gitea.example.com:3000/git/acme/shop": (
        "gitea",
        {"url": "https://gitea.example.com:3000/git", "owner": "acme"},
    ),
    f"{HOST}/acme/shop/src/branch/main/README.md": ("gitea", {"url": HOST, "owner": "acme"}),
}

UNKNOWN = (
    f"{HOST}/acme/shop.git",
    "ssh://git@git.example.com/prj/repo.git",
    "ssh://git@git.example.com:22/prj/repo.git",
    f"{HOST}/scm/prj",
    "https://notgithub.com/acme/shop",
    "https://github.com.example.com/acme/shop",
)


@pytest.mark.parametrize("text", KNOWN)
def test_the_address_of_a_known_host_determines_kind_and_fields(text):
    kind, fields = KNOWN[text]
    (found,) = recognitions(clean_address(text))
    assert (found.kind, found.fields) == (kind, fields)


@pytest.mark.parametrize("text", UNKNOWN)
def test_the_kind_of_an_ambiguous_address_is_not_guessed(text):
    assert recognitions(clean_address(text)) == ()


def test_an_address_is_removed_from_the_arguments():
    arguments = ["https://github.com/acme/shop", "--mode", "token"]
    assert pasted_address("work", arguments) == "https://github.com/acme/shop"
    assert arguments == ["--mode", "token"]


@pytest.mark.parametrize("arguments", [[], ["--mode", "token"], ["--url", "https://x.example"]])
def test_other_arguments_are_kept(arguments):
    before = list(arguments)
    assert pasted_address("work", arguments) is None
    assert arguments == before


@pytest.mark.parametrize("user", ["ada:hunter2", "hunter2" * 4, "hunter2" * 4 + ":x-oauth-basic"])
def test_a_password_in_an_address_is_rejected_and_not_echoed(user):
    with pytest.raises(ConfigurationError, match="password or token") as caught:
        pasted_address("work", [f"https://{user}@github.com/acme/shop"])
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"
    assert "Give the address without it" in caught.value.hint
    assert plugin_for(None, pasted_address("work", ["https://github.com/acme/shop"]))


@pytest.mark.parametrize(
    "text",
    [
        "ftp://git.example.com/x",
        "https://",
        "https://[::1",
        "file:///srv/x",
        "https://github.com\\@git.example.com/acme/shop",
        "https://github.com\n.example.com/acme/shop",
        "https://github.com/\x1b[31m/shop",
    ],
)
def test_an_address_that_is_not_a_repository_is_rejected(text):
    with pytest.raises(ConfigurationError, match="not that of a repository") as caught:
        pasted_address("work", [text])
    example = caught.value.hint.split()[-1]
    assert pasted_address("work", [example]) == example
    assert plugin_for(None, pasted_address("work", ["https://github.com/acme/shop/tree/main"]))


def test_the_recognized_kind_is_reported(capsys):
    plugin, told = plugin_for(None, f"{HOST}/scm/prj/repo.git")
    assert (plugin.kind, told) == (CENTER, {"url": HOST, "project": "PRJ"})
    said = capsys.readouterr().err
    assert f"Recognized the kind {CENTER} from the URL (url {HOST}, project PRJ)." in said
    assert "--kind" in said


def test_with_a_kind_the_address_only_determines_the_fields(capsys):
    plugin, told = plugin_for("gitea", "https://codeberg.org/acme/shop")
    assert (plugin.kind, told["owner"]) == ("gitea", "acme")
    assert "Read from the URL: url https://codeberg.org, owner acme." in capsys.readouterr().err
    with pytest.raises(UsageError, match="not recognized as one of a provider of kind gitea"):
        plugin_for("gitea", "https://github.com/acme/shop")
    plugin, told = plugin_for("git", "https://git.example.com/acme/shop.git")
    assert told == {"url": "https://git.example.com", "repositories": "acme/shop.git"}


def test_an_unrecognized_address_requires_the_kind():
    with pytest.raises(UsageError, match="No installed plugin recognizes") as caught:
        plugin_for(None, f"{HOST}/acme/shop.git")
    assert "gitlab), and give its fields: deploycore provider add --kind" in caught.value.hint
    assert CENTER in caught.value.hint
    assert "git server without an API, add --kind git" in caught.value.hint


def test_an_address_in_place_of_the_name_is_reported_and_not_echoed():
    for address in ("https://ada:hunter2@git.example.com/x", "git@git.example.com:acme/shop"):
        with pytest.raises(UsageError, match="name is missing before the URL") as caught:
            pasted_address(address, ["--kind", "git"])
        assert "git.example.com" not in f"{caught.value} {caught.value.hint}"


RECOGNIZING = """\
from deploycore_gitea import GiteaProvider

class AcmeProvider(GiteaProvider):
    @classmethod
    def recognize_url(cls, url):
        {body}
"""


@pytest.fixture
def rival(install_distribution):
    """Installs another provider that recognizes addresses by the given code."""

    def install(body):
        install_distribution("rival", "rival", RECOGNIZING.format(body=body))

    return install


def test_two_plugins_that_recognize_the_same_address_are_both_named(rival):
    rival("return {}")
    with pytest.raises(UsageError, match="several kinds: github, rival"):
        plugin_for(None, "https://github.com/acme/shop")


@pytest.mark.parametrize("body", ["raise ValueError('no')", "return {'owner': 7}", "return 'x'"])
def test_a_failing_plugin_recognizes_nothing_and_hides_no_other(rival, body):
    rival(body)
    (found,) = recognitions("https://github.com/acme/shop")
    assert found.kind == "github"
    with pytest.raises(PluginError, match="recognize_url of the plugin rival") as caught:
        fields_by(load_plugin("rival"), "https://github.com/acme/shop")
    assert "Omit the address, and give its parts" in caught.value.hint
    assert plugin_for("rival", None)[1] == {}


def test_recognition_by_an_instance_method_is_a_plugin_error():
    class Wrong(load_plugin("gitea").provider_class):
        def recognize_url(self, url):
            return {}

    with pytest.raises(PluginError, match="recognize_url is not a class method"):
        check_provider_class(Wrong, plugin="wrong 1.0")


READ = {
    f"{HOST}/scm/prj/repo.git": "PRJ/repo",
    f"{HOST}/bitbucket/scm/~ada/x.git": "~ada/x",
    f"{HOST}/bitbucket/projects/PRJ/repos/x/browse?at=main": "PRJ/x",
    f"{HOST}/projects/PRJ/repos/x/pull-requests/7/overview": "PRJ/x",
    f"{HOST}/users/ada/repos/x": "~ada/x",
    f"git clone {HOST}/scm/prj/repo.git": "PRJ/repo",
    "ssh://git@git.example.com:7999/prj/repo.git": "PRJ/repo",
    "prj/repo": "prj/repo",
}


@pytest.mark.parametrize("text", READ)
def test_a_plugin_can_parse_addresses_of_its_host_in_another_form(text):
    plugin = load_plugin(CENTER)
    read = read_repository(text, lambda: [HOST], partial(repository_by, plugin))
    assert str(read) == READ[text]


def test_a_plugin_does_not_parse_addresses_of_other_hosts():
    with pytest.raises(ConfigurationError, match="names a repository on"):
        read_repository("https://other.example/scm/prj/repo.git", lambda: [HOST], pytest.fail)


def test_an_address_a_plugin_does_not_parse_is_parsed_in_the_default_way():
    address = "https://codeberg.org/acme/shop/src/branch/main"
    assert repository_by(load_plugin("gitea"), address) is None
    read = read_repository(address, lambda: ["https://codeberg.org"], lambda url: None)
    assert str(read) == "acme/shop"


@pytest.mark.parametrize("body", ["raise ValueError('no')", "return 'a/b'"])
def test_a_plugin_that_fails_to_parse_an_address_is_named(rival, body):
    rival(f"return None\n    @classmethod\n    def repository_of_url(cls, url):\n        {body}")
    with pytest.raises(PluginError, match="repository_of_url of the plugin rival"):
        repository_by(load_plugin("rival"), f"{HOST}/acme/shop")


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (
            "https://git.example.com/git/acme/shop.git",
            ("https://git.example.com/git", "acme/shop.git"),
        ),
        ("https://git.example.com/shop.git", ("https://git.example.com", "shop.git")),
        ("http://127.0.0.1:8080/a%20b/shop", ("http://127.0.0.1:8080", "a b/shop")),
        ("https://git.example.com", ("https://git.example.com", "")),
        (
            "git@git.example.com:srv/acme/shop.git",
            ("ssh://git@git.example.com/srv", "acme/shop.git"),
        ),
        ("ssh://git.example.com:2222/shop", ("ssh://git@git.example.com:2222", "shop")),
    ],
)
def test_plain_git_accepts_the_address_of_any_host(text, fields):
    address = clean_address(text)
    assert recognitions(address) == ()
    (found,) = acceptances(address)
    assert found.kind == "git"
    assert (found.fields["url"], found.fields["repositories"]) == fields
    assert found.fields.get("mode", "") == ("ssh" if address.startswith("ssh") else "")


def test_acceptance_by_an_instance_method_is_a_plugin_error():
    class Wrong(load_plugin("git").provider_class):
        def accept_url(self, url):
            return {}

    with pytest.raises(PluginError, match="accept_url is not a class method"):
        check_provider_class(Wrong, plugin="wrong 1.0")
