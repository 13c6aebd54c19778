"""Whether the time that a webhook's proof takes tells right from wrong, or how much is right.

Each provider's own check is given deliveries that are right by the present secret, and in random
order among them others: right by the former one, or wrong in several ways. The means are compared
once the slowest tenth is left out, as dudect does ("Dude, is my code constant time?", 2017). What
is said to be no difference is one of less than 100 ns, the finest that was ever told apart over a
local network (Crosby, Wallach and Riedi, "Opportunities and Limits of Remote Timing Attacks",
2009). Welch's t is told too: of a million calls it finds where the allocator has put something,
so there is a control, which compares two sets of the same kind. The peer, which shows that this
would find something, is what one writes without a thought: ``any`` and ``==``.

Run: python benchmarks/signatures.py [--quick]
Exit code 3: a bound was missed.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import hmac
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import deploycore_bitbucket.webhooks
import deploycore_bitbucket_datacenter.webhooks
import deploycore_git.webhooks
import deploycore_gitea.webhooks
import deploycore_github.webhooks
import deploycore_gitlab.webhooks
from pydantic import SecretStr

from deploycore.events import WebhookDelivery

TOLD_APART = 100.0
"""Nanoseconds."""
KEPT = 0.9
"""The share of all times that is looked at, from the fastest on."""
VARIANTS = 64
"""Different deliveries of each kind."""

PRESENT, FORMER, OTHER = (SecretStr(f"{number:x}" * 43) for number in (10, 11, 12))
SECRETS = (PRESENT, FORMER)
Check = Callable[[WebhookDelivery], bool]
Kinds = Mapping[str, Sequence[WebhookDelivery]]
Sign = Callable[[bytes, SecretStr], str]


def main() -> int:
    """Print the table; 3 where two kinds were told apart, or the peer's were not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the calls")
    calls = 5_000 if parser.parse_args().quick else 50_000
    print(f"compared with those that are right by the present secret, {calls:,} calls of each\n")
    print(f"{'':10} {'':32} {'median, ns':>11} {'longer by':>11} {'|t|':>7}")
    *providers, peer = (compared(name, check, kinds, calls) for name, check, kinds in proofs())
    worst = max(providers)
    print(
        f"\nlargest difference: {worst:.0f} ns, allowed {TOLD_APART:.0f}; of the peer: {peer:.0f}"
    )
    return 0 if worst < TOLD_APART < peer else 3


def compared(name: str, check: Check, kinds: Kinds, calls: int) -> float:
    """Measure each kind with the first one, so many calls of both; gives the largest difference.

    In pairs, since what is rarer among many kinds is slower: processors guess what comes next.
    """
    for kind, deliveries in kinds.items():
        wanted = kind.startswith("right,")
        assert all(check(each) is wanted for each in deliveries), (name, kind)
    first, *others = kinds
    worst = 0.0
    for kind in others:
        times = measured(check, {each: kinds[each] for each in (first, kind)}, calls)
        limit = sorted([*times[first], *times[kind]])[int(2 * calls * KEPT)]
        base, taken = ([each for each in times[of] if each <= limit] for of in (first, kind))
        difference = statistics.fmean(taken) - statistics.fmean(base)
        worst = max(worst, abs(difference))
        t = abs(welch(base, taken))
        print(f"{name:10} {kind:32} {statistics.median(taken):11.0f} {difference:+11.1f} {t:7.1f}")
    return worst


def measured(check: Check, kinds: Kinds, calls: int) -> dict[str, list[int]]:
    """Nanoseconds of so many calls of each kind, in random order."""
    draw = random.Random(1)
    times: dict[str, list[int]] = {kind: [] for kind in kinds}
    order = [kind for kind in kinds for _ in range(calls)]
    draw.shuffle(order)
    clock = time.perf_counter_ns
    gc.disable()
    for kind in order:
        delivery = kinds[kind][draw.randrange(VARIANTS)]
        began = clock()
        check(delivery)
        times[kind].append(clock() - began)
    gc.enable()
    return times


def welch(one: Sequence[int], other: Sequence[int]) -> float:
    """Welch's t: the difference of two means, in units of how well it is known."""
    spread = statistics.variance(one) / len(one) + statistics.variance(other) / len(other)
    return float((statistics.fmean(other) - statistics.fmean(one)) / spread**0.5)


def proofs() -> list[tuple[str, Check, Kinds]]:
    """Each provider's check and its deliveries by kind, and the peer's."""
    bitbucket, data_center, github, gitea, gitlab = (
        deploycore_bitbucket.webhooks.is_signed,
        deploycore_bitbucket_datacenter.webhooks.is_signed,
        deploycore_github.webhooks.is_signed,
        deploycore_gitea.webhooks.is_signed,
        deploycore_gitlab.webhooks.is_proved,
    )
    of_hmac = "x-hub-signature"
    return [
        ("bitbucket", lambda each: bitbucket(each, SECRETS), kinds_of(of_hmac, "sha256=")),
        (
            "bitbucket-datacenter",
            lambda each: data_center(each, SECRETS),
            kinds_of(of_hmac, "sha256="),
        ),
        (
            "git",
            lambda each: deploycore_git.webhooks.is_signed(each, SECRETS),
            kinds_of("x-deploycore-signature", "sha256="),
        ),
        ("github", lambda each: github(each, SECRETS), kinds_of(f"{of_hmac}-256", "sha256=")),
        ("gitea", lambda each: gitea(each, SECRETS), kinds_of("x-gitea-signature")),
        ("gitlab", lambda each: gitlab(each, SECRETS), gitlabs_kinds()),
        ("… token", lambda each: gitlab(each, SECRETS), kinds_of("x-gitlab-token", sign=_token)),
        ("any, ==", thoughtless, kinds_of(of_hmac)),
    ]


def thoughtless(delivery: WebhookDelivery) -> bool:
    """The peer: it ends where it has found the right secret."""
    given = delivery.headers["x-hub-signature"]
    return any(_hmac(delivery.body, secret) == given for secret in SECRETS)


def gitlabs_kinds() -> Kinds:
    """Deliveries with a signature as GitLab 19 makes it."""
    told = {"webhook-id": "7d5e", "webhook-timestamp": str(int(time.time()))}

    def sign(body: bytes, secret: SecretStr) -> str:
        unsigned = WebhookDelivery(headers=told, body=body)
        return deploycore_gitlab.webhooks.signature(unsigned, secret)

    return kinds_of("webhook-signature", sign=sign, more=told)


def kinds_of(
    header: str,
    prefix: str = "",
    *,
    sign: Sign | None = None,
    more: Mapping[str, str] | None = None,
) -> Kinds:
    """Deliveries whose proof is in one header; two are right, and three are wrong."""
    sign = sign or _hmac
    found: dict[str, list[WebhookDelivery]] = {}
    for number in range(VARIANTS):
        body = f'{{"number": {number:04}}}'.encode() * 64
        right = sign(body, PRESENT)
        proofs = {
            "right, by the present secret": right,
            "right, the same again": right,
            "right, by the former one": sign(body, FORMER),
            "wrong but for the last character": "0" * (len(right) - 1) + right[-1],
            "right but for the last character": right[:-1] + _other(right[-1]),
            "by another secret": sign(body, OTHER),
        }
        for kind, proof in proofs.items():
            headers = {**(more or {}), header: prefix + proof}
            found.setdefault(kind, []).append(WebhookDelivery(headers=headers, body=body))
    return found


def _hmac(body: bytes, secret: SecretStr) -> str:
    return hmac.new(secret.get_secret_value().encode(), body, hashlib.sha256).hexdigest()


def _token(body: bytes, secret: SecretStr) -> str:
    return secret.get_secret_value()


def _other(character: str) -> str:
    return "0" if character != "0" else "1"


if __name__ == "__main__":
    sys.exit(main())
