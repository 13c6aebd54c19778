"""Checks that a provider does not change the process that it shares with the core."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import pytest
from pydantic import SecretStr

from deploycore.configuration import parse_config
from deploycore.errors import ProviderError
from deploycore.events import CommitStatus
from deploycore.provider import Provider
from deploycore.provider.observers import Observers
from deploycore.provider.registry import Plugin
from deploycore.testing.contract.base import (
    PATIENT,
    Connect,
    ContractBase,
    Leaks,
    asked,
    identity,
    must_raise,
)
from deploycore.testing.contract.failures import HOOKS, run, run_here
from deploycore.testing.faults import Fault, answer, html
from deploycore.testing.scenarios import ONE, Access, Arranged, ContractHost, WebhookHost
from deploycore.testing.side_effects import Watch, changes_of, process_state, threads_left
from deploycore.testing.untrusted import UntrustedHost

__all__ = ["SideEffects"]

IMPORT_SECONDS = 120
QUICK = replace(PATIENT, retries=0)
WEBHOOK = "https://deploy.example.com/webhook"
SECRET = SecretStr("kit-Rb5-7dKx3mQwTz")
CHANGES = (None, answer(401, "no"), answer(500, "no"), html())
SHARED = (
    "the process is shared with the core and other plugins, so none of its settings are changed"
)

Values = Callable[..., dict[str, str | SecretStr]]


@dataclass
class _Seen:
    """The side effects of all hooks.

    Attributes:
        changes: The parts of the process's state that have changed.
        threads: The names of threads that outlived the provider.
    """

    watch: Watch
    leaks: Leaks
    changes: list[str] = field(default_factory=list)
    threads: list[str] = field(default_factory=list)


_KNOWN: WeakKeyDictionary[type, dict[str, _Seen]] = WeakKeyDictionary()


class SideEffects(ContractBase):
    """Prints, files, environment, child processes, connections, threads, and global settings."""

    def test_importing_it_changes_nothing(self, plugin: Plugin, tmp_path: Path) -> None:
        """Runs in a separate process, because the plugin is already imported in this one."""
        report = tmp_path / "report.json"
        module = plugin.provider_class.__module__
        done = subprocess.run(
            [sys.executable, "-m", "deploycore.testing.side_effects", str(report), module],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=IMPORT_SECONDS,
            check=False,
        )
        rule = f"{SHARED} during the import, and nothing is printed"
        assert report.is_file(), f"{asked('class', rule)} {done.stderr}"
        assert json.loads(report.read_text()) == [], asked("class", rule)
        assert done.stdout == "", asked("class", rule)

    def test_nothing_is_printed(
        self,
        host: ContractHost,
        plugin: Plugin,
        values: Values,
        mode: str,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        capfd.readouterr()
        seen = self._watch(host, plugin, values, mode)
        _KNOWN.setdefault(type(self), {}).setdefault(mode, seen)
        assert capfd.readouterr().out == "", asked(
            "class",
            "nothing is printed, because programs read the command's standard output: use a logger",
        )

    def test_the_process_is_left_as_it_was(
        self, host: ContractHost, plugin: Plugin, values: Values, mode: str
    ) -> None:
        seen = self._watched(host, plugin, values, mode)
        assert seen.changes == [], asked("class", SHARED)

    def test_the_working_directory_is_left_alone(
        self, host: ContractHost, plugin: Plugin, values: Values, mode: str
    ) -> None:
        seen = self._watched(host, plugin, values, mode)
        assert seen.watch.directories == [], asked(
            "class", f"{SHARED}, not even for a moment: threads share the working directory"
        )

    def test_no_thread_outlives_the_provider(
        self, host: ContractHost, plugin: Plugin, values: Values, mode: str
    ) -> None:
        seen = self._watched(host, plugin, values, mode)
        assert seen.threads == [], asked(
            "class", "threads that it starts end with the call, or when its client is closed"
        )

    def test_no_secret_is_written_into_a_file(
        self, host: ContractHost, plugin: Plugin, values: Values, mode: str
    ) -> None:
        seen = self._watched(host, plugin, values, mode)
        found = [path for path, text in seen.watch.contents.items() if seen.leaks.within(text)]
        assert found == [], asked(
            "secrets", "no secret is written to a file, not even for a moment"
        )

    def test_no_secret_is_put_into_the_environment(
        self, host: ContractHost, plugin: Plugin, values: Values, mode: str
    ) -> None:
        seen = self._watched(host, plugin, values, mode)
        found = [seen.leaks.within(text) for text in seen.watch.environment]
        assert [text for text in found if text] == [], asked(
            "secrets", "no secret is put into the environment, which every child process inherits"
        )

    def test_no_secret_is_an_argument_of_a_child_process(
        self, host: ContractHost, plugin: Plugin, values: Values, mode: str
    ) -> None:
        seen = self._watched(host, plugin, values, mode)
        found = [seen.leaks.within(text) for text in seen.watch.arguments]
        assert [text for text in found if text] == [], asked(
            "secrets",
            "no secret is an argument of a program, because every user can read arguments",
        )

    def test_nothing_but_the_configured_host_is_connected_to(
        self, host: ContractHost, plugin: Plugin, values: Values, mode: str
    ) -> None:
        seen = self._watched(host, plugin, values, mode)
        assert seen.watch.places == [], asked(
            "secrets",
            "connections lead only to the configured host, with any library: use the http client",
        )

    def test_a_host_whose_certificate_is_not_trusted_is_sent_nothing(
        self,
        host: ContractHost,
        connect: Connect,
        values: Values,
        mode: str,
    ) -> None:
        (shop,) = host.arrange(ONE)
        with UntrustedHost() as untrusted:
            settings = {
                name: untrusted.url + value.removeprefix(host.url)
                if isinstance(value, str) and value.startswith(host.url)
                else value
                for name, value in values(Access.FULL, mode).items()
            }
            provider = connect(settings=settings, http=QUICK)
            for hook in HOOKS:
                rule = "a host without a trusted certificate causes an error"
                with must_raise(ProviderError, hook, rule):
                    run(provider, hook, identity(shop))
            assert untrusted.requests == [], asked(
                "secrets", "certificates are verified before anything is sent"
            )

    def _watched(self, host: ContractHost, plugin: Plugin, values: Values, mode: str) -> _Seen:
        """Return the side effects of all hooks, which are called once for all checks of a mode."""
        known = _KNOWN.setdefault(type(self), {})
        if mode not in known:
            known[mode] = self._watch(host, plugin, values, mode)
        return known[mode]

    def _watch(self, host: ContractHost, plugin: Plugin, values: Values, mode: str) -> _Seen:
        """Call all hooks of a new provider, and close it."""
        (shop,) = host.arrange(ONE)
        given = values(Access.FULL, mode)
        place = urlsplit(host.url)
        threads, before = set(threading.enumerate()), process_state()
        with Watch((place.hostname or "", place.port or 0)) as watch:
            config = parse_config(plugin.config_type, given, kind=self.kind)
            with Provider(plugin, config, http_settings=QUICK, observers=Observers()) as provider:
                for change in CHANGES:
                    host.faults.clear()
                    if change is not None:
                        host.faults.add(Fault(change))
                    _call_all(provider, host, shop)
            seen = _Seen(watch, Leaks([*host.secrets, SECRET]), changes_of(before))
        seen.threads = threads_left(threads)
        host.faults.clear()
        return seen


def _call_all(provider: Provider, host: ContractHost, shop: Arranged) -> None:
    """Call every hook that both the provider and the sandbox have, and ignore the results."""
    repository = identity(shop)
    for hook in HOOKS:
        with suppress(ProviderError):
            run_here(provider, hook, repository)
    with suppress(ProviderError):
        provider.clone_url(repository)
    if not isinstance(host, WebhookHost):
        return
    if provider.supports("register_webhook"):
        with suppress(ProviderError):
            provider.register_webhook(repository, WEBHOOK, SECRET)
    if provider.supports("report_status"):
        commit = shop.branches[shop.default_branch]
        status = CommitStatus(commit=commit, key="k" * 40, state="failed", name="shop")
        with suppress(ProviderError):
            provider.report_status(repository, status)
