"""Checks of ``clone_url``: a clean address, and a credential that a git server accepts."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from pydantic import SecretStr

from deploycore.errors import ConfigurationError, ProviderError, RemoteRefused
from deploycore.git import GitSettings, export
from deploycore.models import CloneUrl, GitCredential, RepositoryId, SshCredential
from deploycore.provider import Provider
from deploycore.ssh.known_hosts import KnownHosts
from deploycore.testing.contract.base import (
    SKIPPED_BY_THE_KIT,
    Connect,
    ContractBase,
    Leaks,
    asked,
    hook_requests,
    identity,
    instance_of,
    must_raise,
)
from deploycore.testing.faults import Change, Fault
from deploycore.testing.messages import Answer, Request
from deploycore.testing.scenarios import ODD, ONE, TWO, Access, ContractHost

__all__ = ["Cloning"]

GIT_SECONDS = 60
LONGEST_HINT = 1000
HELPER = '!f() { echo "username=$GIT_CHECK_USERNAME"; echo "password=$GIT_CHECK_PASSWORD"; }; f'
SETTINGS = GitSettings(connect_timeout=5, read_timeout=10, retries=0)


class Cloning(ContractBase):
    """``clone_url``, used by a standard git client and by the core."""

    def test_the_address_is_clean_and_the_credential_apart(
        self, host: ContractHost, connect: Connect, mode: str
    ) -> None:
        (shop,) = host.arrange(ONE)
        provider = connect(mode=mode)
        before = len(hook_requests(host))
        found = provider.clone_url(identity(shop))
        assert len(hook_requests(host)) - before <= self.clone_requests, asked(
            "clone_url", "it needs no request, or at most as many as clone_requests allows"
        )
        assert urlsplit(found.url).netloc == urlsplit(host.url).netloc, asked(
            "clone_url", "it has the configured address"
        )
        has_one = mode not in self.modes_without_credentials
        assert (found.credential is not None) is has_one, asked(
            "clone_url",
            "a private repository has a credential, except in modes_without_credentials",
        )
        assert not Leaks(host.secrets).within(found.url), asked(
            "secrets", "no URL contains a secret"
        )

    def test_names_are_quoted_once_in_the_address(
        self, host: ContractHost, provider: Provider
    ) -> None:
        host.arrange(ONE)
        odd = RepositoryId(owner="größe & co", slug="a?b#c%25d")
        try:
            found = provider.clone_url(odd)
        except ProviderError:
            return  # the plugin has sent a request to the host, which does not know the repository
        path = unquote(urlsplit(found.url).path)
        assert all(name in path for name in (odd.owner, odd.slug)), asked(
            "clone_url", "no character of a name is lost: quote the name exactly once, with safe=''"
        )

    def test_the_credential_goes_to_the_configured_host_alone(
        self, host: ContractHost, provider: Provider
    ) -> None:
        (shop,) = host.arrange(ONE)
        elsewhere = host.url.replace("127.0.0.1", "git.example.com")

        def astray(_: Request, found: Answer) -> Answer:
            body = found.body if isinstance(found.body, bytes) else b""
            return replace(found, body=body.replace(host.url.encode(), elsewhere.encode()))

        host.faults.add(Fault(Change("addresses elsewhere", astray)))
        try:
            found = provider.clone_url(identity(shop))
        except ProviderError:
            return
        assert urlsplit(found.url).netloc == urlsplit(host.url).netloc, asked(
            "clone_url",
            "an address from a response is used only if it belongs to the configured host",
        )

    def test_the_address_for_ssh_names_the_repository(
        self, host: ContractHost, provider: Provider
    ) -> None:
        if not provider.supports("ssh_clone_url"):
            return
        (shop,) = host.arrange(ONE)
        try:
            found = provider.ssh_clone_url(identity(shop))
        except ConfigurationError:
            if self.modes_over_ssh:
                return  # this mode clones over HTTPS
            raise
        path = unquote(urlsplit(found.url).path).casefold()
        assert path.removesuffix(".git").endswith(f"/{shop.slug.casefold()}"), asked(
            "ssh_clone_url", "it is the address of the requested repository"
        )
        try:
            KnownHosts(found.host_keys)
        except ValueError as error:
            rule = f"host_keys are lines of a known_hosts file: {error}"
            pytest.fail(asked("ssh_clone_url", rule), pytrace=False)
        assert not Leaks(host.secrets).within(found.url), asked(
            "secrets", "no URL contains a secret"
        )

    def test_the_core_clones_with_it(
        self, host: ContractHost, connect: Connect, mode: str, tmp_path: Path
    ) -> None:
        for number, row in enumerate(host.arrange(ODD)):
            source = connect(Access.LEAST, mode=mode).clone_url(identity(row))
            target = tmp_path / str(number)
            done = export(source, row.default_branch, target, settings=SETTINGS)
            assert done.commit == row.branches[row.default_branch], asked(
                "clone_url", f"a clone of {row.slug} has the commit that list_branches returns"
            )
            assert any(target.iterdir()), asked("clone_url", "a clone has the repository's files")

    def test_a_public_repository_can_be_cloned_too(
        self, host: ContractHost, provider: Provider, tmp_path: Path
    ) -> None:
        public = next(row for row in host.arrange(TWO) if not row.private)
        source = provider.clone_url(identity(public))
        done = export(source, public.default_branch, tmp_path / "clone", settings=SETTINGS)
        assert done.commit == public.branches[public.default_branch], asked(
            "clone_url", "a public repository can be cloned with credentials too"
        )

    def test_a_stock_git_client_accepts_it(
        self, host: ContractHost, connect: Connect, mode: str, tmp_path: Path
    ) -> None:
        if shutil.which("git") is None:
            pytest.skip(SKIPPED_BY_THE_KIT["test_a_stock_git_client_accepts_it"])
        for row in host.arrange(ODD):
            found = connect(mode=mode).clone_url(identity(row))
            listed = _ls_remote(found, tmp_path)
            assert listed == dict(row.branches), asked(
                "clone_url", f"git itself can fetch {row.slug} with the URL and the credential"
            )

    def test_wrong_credentials_clone_nothing(
        self, host: ContractHost, connect: Connect, mode: str, tmp_path: Path
    ) -> None:
        (shop,) = host.arrange(ONE)
        provider = connect(mode=mode)
        source = provider.clone_url(identity(shop))
        assert isinstance(source.credential, GitCredential), asked(
            "clone_url", "a private repository is cloned with a password or a token"
        )
        wrong = SecretStr("not-" + source.credential.password.get_secret_value())
        credential = source.credential.model_copy(update={"password": wrong})
        source = CloneUrl(url=source.url, credential=credential)
        rule = "the host's git server rejects a wrong credential (check the sandbox too)"
        with must_raise(RemoteRefused, "clone_url", rule) as caught:
            export(source, shop.default_branch, tmp_path / "clone", settings=SETTINGS)
        leaks = Leaks([*host.secrets, wrong])
        assert not leaks.within(str(caught[0].as_dict())), asked(
            "secrets", "no error contains a secret"
        )

    def test_explanations_of_refusals_are_texts_without_secrets(
        self, host: ContractHost, connect: Connect, mode: str
    ) -> None:
        provider = connect(mode=mode)
        if not provider.supports("explain_git_refusal"):
            return
        explain = instance_of(provider).explain_git_refusal
        leaks = Leaks(host.secrets)
        for status in (None, 401, 403, 404, 410, 429, 500):
            for message in ("", "Repository not found", "x" * 10_000, "größe\x00\x1b[0m"):
                provider.explain_git_refusal(status, message)
                # Read the plugin's own result, before the core masks and converts it.
                said = explain(status=status, message=message)
                assert said is None or (isinstance(said, str) and said.strip()), asked(
                    "explain_git_refusal",
                    "it returns one or two sentences, or None for no explanation",
                )
                assert said is None or (len(said) <= LONGEST_HINT and said.isprintable()), asked(
                    "explain_git_refusal",
                    "it returns a hint for a person, not the server's message",
                )
                assert not leaks.within(said or ""), asked(
                    "secrets", "no explanation contains a secret"
                )


def _shown_to_git(credential: GitCredential | None) -> dict[str, str]:
    """Return the environment with which a standard git client sends a credential.

    A bearer token is sent as a header, because helpers of older versions do not support it."""
    if credential is None:
        return {"GIT_CHECK_USERNAME": "", "GIT_CHECK_PASSWORD": ""}
    secret = credential.password.get_secret_value()
    if credential.scheme == "bearer":
        return {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "http.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: Bearer {secret}",
        }
    return {"GIT_CHECK_USERNAME": credential.username, "GIT_CHECK_PASSWORD": secret}


def _ls_remote(source: CloneUrl, at: Path) -> dict[str, str]:
    """List branches with a standard git client; the credential is in the environment."""
    credential = source.credential
    assert not isinstance(credential, SshCredential), asked(
        "clone_url", "SSH keys belong to the core"
    )
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(at),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "NO_PROXY": "127.0.0.1",
        **_shown_to_git(credential),
    }
    done = subprocess.run(
        ["git", "-c", "credential.helper=", "-c", f"credential.helper={HELPER}",
         "ls-remote", "--heads", source.url],
        cwd=at, env=environment, capture_output=True, text=True, timeout=GIT_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (
        asked("clone_url", "git accepts the URL and the credential") + done.stderr[-500:]
    )
    lines = (line.split("\t") for line in done.stdout.splitlines())
    return {ref.removeprefix("refs/heads/"): commit for commit, ref in lines}
