"""Checks that one instance serves several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from deploycore.provider import Provider
from deploycore.testing.contract.base import ContractBase, asked, identity
from deploycore.testing.contract.failures import HOOKS, run
from deploycore.testing.faults import Fault, latency
from deploycore.testing.scenarios import TWO, ContractHost

__all__ = ["Threads"]

AT_ONCE = 8
ROUNDS = 3


class Threads(ContractBase):
    """Calls from several threads at once."""

    def test_calls_from_several_threads_do_not_disturb_each_other(
        self, host: ContractHost, provider: Provider
    ) -> None:
        arranged = host.arrange(TWO)
        calls = [(hook, identity(row)) for hook in HOOKS for row in arranged]
        alone = {call: run(provider, *call) for call in calls}
        addresses = {row.slug: provider.clone_url(identity(row)) for row in arranged}
        host.faults.add(Fault(latency(0.005)))

        def work(number: int) -> list[str]:
            wrong = []
            for offset in range(len(calls) * ROUNDS):
                call = calls[(number + offset) % len(calls)]
                if run(provider, *call) != alone[call]:
                    wrong.append(f"{call[0]} of {call[1]}")
                row = arranged[(number + offset) % len(arranged)]
                if provider.clone_url(identity(row)) != addresses[row.slug]:
                    wrong.append(f"clone_url of {row.slug}")
            return wrong

        with ThreadPoolExecutor(AT_ONCE) as threads:
            wrong = [each for found in threads.map(work, range(AT_ONCE)) for each in found]
        assert wrong == [], asked(
            "class", "one instance may be called from several threads at once: no state is shared"
        )
