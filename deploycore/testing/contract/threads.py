"""Checks that one instance serves several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from deploycore.errors import AuthenticationFailed, DeploycoreError
from deploycore.models import CloneUrl, GitCredential
from deploycore.provider import Provider
from deploycore.testing.contract.base import (
    SECONDS_MOST,
    Connect,
    ContractBase,
    asked,
    identity,
    must_raise,
)
from deploycore.testing.contract.failures import HOOKS, run_here
from deploycore.testing.faults import Fault, latency
from deploycore.testing.scenarios import ONE, TWO, Access, ContractHost

__all__ = ["Threads"]

AT_ONCE = 8
ROUNDS = 5


class Threads(ContractBase):
    """Calls from several threads at once."""

    def test_two_providers_of_the_kind_do_not_disturb_each_other(
        self, host: ContractHost, connect: Connect, mode: str
    ) -> None:
        (shop,) = host.arrange(ONE)
        provider = connect(mode=mode)
        source = provider.clone_url(identity(shop))
        other = connect(Access.WRONG, mode=mode)
        with must_raise(AuthenticationFailed, "class", "each instance has its own credentials"):
            other.authenticate()
        for hook in HOOKS:
            run_here(provider, hook, identity(shop))
        rule = "each instance has its own credentials: nothing is stored on the class"
        # Each credential may be a new one, but with the same username for git and the same URL.
        assert _place(provider.clone_url(identity(shop))) == _place(source), asked("class", rule)
        if not self.clone_requests:  # otherwise the host itself may reject the other one
            assert other.clone_url(identity(shop)) != source, asked("class", rule)

    def test_calls_from_several_threads_do_not_disturb_each_other(
        self, host: ContractHost, provider: Provider
    ) -> None:
        arranged = host.arrange(TWO)
        alone = {
            (hook, row.slug): run_here(provider, hook, identity(row))
            for hook in HOOKS
            for row in arranged
        }
        addresses = {row.slug: _place(provider.clone_url(identity(row))) for row in arranged}
        host.faults.add(Fault(latency(0.005)))
        together = Barrier(AT_ONCE, timeout=SECONDS_MOST)

        def work(number: int) -> list[str]:
            wrong = []
            row = arranged[number % len(arranged)]
            for hook in HOOKS * ROUNDS:
                together.wait()
                try:
                    if run_here(provider, hook, identity(row)) != alone[hook, row.slug]:
                        wrong.append(f"{hook} of {row.slug}")
                    if _place(provider.clone_url(identity(row))) != addresses[row.slug]:
                        wrong.append(f"clone_url of {row.slug}")
                except DeploycoreError as error:
                    wrong.append(f"{hook} of {row.slug}: {error}")
            return wrong

        with ThreadPoolExecutor(AT_ONCE) as threads:
            wrong = [each for found in threads.map(work, range(AT_ONCE)) for each in found]
        assert wrong == [], asked(
            "class", "one instance can be called from several threads at once: calls share no state"
        )


def _place(source: CloneUrl) -> tuple[str, str | None]:
    credential = source.credential
    return source.url, credential.username if isinstance(credential, GitCredential) else None
