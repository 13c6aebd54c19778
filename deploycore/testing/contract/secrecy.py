"""Checks that credentials are sent only to their host, for any response of the host."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from contextlib import suppress

import pytest
from pydantic import SecretStr

from deploycore.configuration import parse_config
from deploycore.errors import DeploycoreError, ProviderError
from deploycore.http import HttpSettings
from deploycore.models import RepositoryId
from deploycore.provider import Provider
from deploycore.provider.observers import Observers
from deploycore.provider.registry import Plugin
from deploycore.testing.contract.base import (
    HASTY,
    PATIENT,
    Connect,
    ContractBase,
    Leaks,
    asked,
    identity,
    instance_of,
    must_raise,
    sent,
)
from deploycore.testing.contract.failures import HOOKS, run
from deploycore.testing.faults import Fault, answer, connection_reset, echoing, html, redirect
from deploycore.testing.host import LoopbackHost
from deploycore.testing.scenarios import ONE, TWO, Access, ContractHost

__all__ = ["Secrecy"]

NOWHERE = "no secret in a result, a log line or an error, except in CloneUrl.credential"
CHANGES = (
    *(echoing(status) for status in (200, 400, 401, 403, 404, 409, 422, 429, 500, 503)),
    html(),
    connection_reset(),
    answer(302, headers={"Location": "nowhere"}),
)


class Secrecy(ContractBase):
    """Secrets do not leak."""

    def test_configurations_and_results_show_no_secret(
        self,
        host: ContractHost,
        plugin: Plugin,
        values: Callable[..., dict[str, str | SecretStr]],
        mode: str,
    ) -> None:
        (shop,) = host.arrange(ONE)
        config = parse_config(plugin.config_type, values(Access.FULL, mode), kind=self.kind)
        with Provider(plugin, config, http_settings=PATIENT, observers=Observers()) as provider:
            clone_url = provider.clone_url(identity(shop))
            shown = [
                repr(config),
                str(config),
                config.model_dump_json(),
                config.api_base_url,
                repr(config.api_auth),
                repr(provider),
                repr(clone_url),
                clone_url.model_dump_json(),
                clone_url.url,
                *(repr(run(provider, hook, identity(shop))) for hook in HOOKS),
                repr(instance_of(provider)),
                str(instance_of(provider)),
            ]
        leaks = Leaks(host.secrets)
        assert [leaks.within(text) for text in shown if leaks.within(text)] == [], asked(
            "secrets", NOWHERE
        )

    def test_logs_show_no_secret(
        self,
        host: ContractHost,
        connect: Connect,
        mode: str,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        caplog.set_level(logging.DEBUG)
        (shop,) = host.arrange(ONE)
        provider = connect(mode=mode)
        for change in (None, *CHANGES):
            host.faults.clear()
            if change is not None:
                host.faults.add(Fault(change))
            for hook in HOOKS:
                self._ignoring_errors(provider, hook, identity(shop))
        host.faults.clear()
        provider.clone_url(identity(shop))
        leaks = Leaks(host.secrets)
        # Includes the text of exceptions, and the attributes that handlers which write JSON turn
        # into fields.
        plain = logging.Formatter()
        logged = [f"{plain.format(record)} {vars(record)}" for record in caplog.records]
        assert [leaks.within(line) for line in logged if leaks.within(line)] == [], asked(
            "secrets", NOWHERE
        )
        printed = "".join(capfd.readouterr())
        assert not leaks.within(printed), asked("secrets", "no printed text contains a secret")

    @staticmethod
    def _ignoring_errors(provider: Provider, hook: str, repository: RepositoryId) -> None:
        with suppress(DeploycoreError):
            run(provider, hook, repository)

    @pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name.replace(" ", "-"))
    def test_errors_show_no_secret(
        self, host: ContractHost, connect: Connect, mode: str, change: object
    ) -> None:
        (shop,) = host.arrange(ONE)
        impatient = HttpSettings(**{**vars(HASTY), "read_timeout": 5, "total_timeout": 10})
        provider = connect(mode=mode, http=impatient)
        host.faults.add(Fault(change))  # type: ignore[arg-type]
        leaks = Leaks(host.secrets)
        for hook in HOOKS:
            try:
                run(provider, hook, identity(shop))
            except DeploycoreError as error:
                whole = traceback.TracebackException.from_exception(error, capture_locals=True)
                shown = [
                    str(error),
                    repr(error),
                    error.hint,
                    str(error.as_dict()),
                    "".join(whole.format()),
                ]
                found = [leaks.within(text) for text in shown if leaks.within(text)]
                assert found == [], asked("secrets", NOWHERE)

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_redirect_to_another_host_is_not_followed(
        self, host: ContractHost, connect: Connect, mode: str, status: int
    ) -> None:
        (shop,) = host.arrange(ONE)
        provider = connect(mode=mode)
        with LoopbackHost() as stranger:
            host.faults.add(Fault(redirect(f"{stranger.url}/api", status)))
            for hook in HOOKS:
                with must_raise(ProviderError, hook, "a redirect to another host is an error"):
                    run(provider, hook, identity(shop))
            assert stranger.requests == [], asked(
                "secrets", "credentials are sent only to the configured origin: use the http client"
            )

    def test_secrets_are_not_sent_in_addresses(
        self, host: ContractHost, connect: Connect, mode: str
    ) -> None:
        arranged = host.arrange(TWO)
        provider = connect(mode=mode)
        for hook in HOOKS:
            run(provider, hook, identity(arranged[0]))
        logged = [
            f"{request.path}?{request.query}"
            for request in sent(host)
            if "********" in f"{request.path}?{request.query}"
        ]
        assert logged == [], asked(
            "secrets", "no address contains a secret, because addresses are logged by others"
        )
