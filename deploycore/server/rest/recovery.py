"""Operation that recovers deployments which a crash left unfinished."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from starlette.responses import Response

from deploycore.provider.background import Unanswered, call_within
from deploycore.server.api import PREFIX, Api, Call, answer
from deploycore.server.problems import Refusal
from deploycore.server.rest.operation import Operation
from deploycore.server.views import DeploymentView, View
from deploycore.store import DeploymentRecord

__all__ = ["OPERATIONS"]

_SECONDS = 60.0
"""How long a request waits: a recovery may run steps of a restored release."""

_recovering = threading.Lock()


class Recovered(View):
    """The deployments that were recovered.

    Attributes:
        items: The deployments, with their results.
    """

    items: Sequence[DeploymentView]


def recover_deployments(api: Api, call: Call) -> Response:
    """Recover deployments that a crash left unfinished, and restore a working release.

    It is safe at any time: running deployments are not affected. The server's workers do it when
    they start, and the next deployment of an application recovers that application too.
    """

    def recover() -> list[DeploymentRecord]:
        if not _recovering.acquire(blocking=False):
            raise Refusal(
                503,
                "busy",
                "Another request is recovering deployments.",
                hint="Send the request again in a minute.",
                headers={"Retry-After": "60"},
            )
        try:
            return api.installation.recover()
        finally:
            _recovering.release()

    try:
        # In a thread of its own: it must not be interrupted when the client has waited too long.
        found = call_within(recover, _SECONDS)
    except Unanswered:
        raise Refusal(
            504,
            "timed_out",
            f"The recovery has not ended within {_SECONDS:g} seconds. It continues.",
            hint="See its results in a minute: deploycore deployments",
        ) from None
    return answer(Recovered(items=[DeploymentView.of(each) for each in found]))


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "POST",
        f"{PREFIX}/recover",
        "deploy",
        recover_deployments,
        {200: Recovered},
        refusals=(409, 504),
    ),
)
