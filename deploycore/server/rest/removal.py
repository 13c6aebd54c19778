"""Operation that shows what a removal of an application would do."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from deploycore.errors import ConfigurationError
from deploycore.installation.application_removal import RemovalPlan
from deploycore.installation.removal_description import removal_parts
from deploycore.server.api import PREFIX, Api, Call, answer, checked_name, missing
from deploycore.server.problems import refused_by
from deploycore.server.rest.operation import Operation
from deploycore.server.views import RemovalQuery, View

__all__ = ["OPERATIONS"]


class RemovalPart(View):
    """What removing an application does to one part of it.

    Attributes:
        part: The part, such as its history or its webhook.
        text: What happens to it.
    """

    part: str
    text: str


class RemovedWebhookView(View):
    """The webhook of an application that would be removed.

    Attributes:
        hosts_id: The identifier at the host; ``None`` if the webhook was set up by hand.
        url: Where the host sends deliveries; ``None`` if it is not known.
    """

    hosts_id: str | None
    url: str | None


class RemovedPreviewView(View):
    """A preview of an application that would be removed.

    Attributes:
        name: The name of the preview.
        pull_request: The number of its pull request.
        target: The directory of its releases.
    """

    name: str
    pull_request: int
    target: str


class RemovalPlanView(View):
    """What would be removed with an application, and what would stay.

    Attributes:
        name: The name of the application.
        target: The directory of its releases; ``None`` if its definition is damaged.
        deployments: Number of its deployments.
        former: Number of deployments of removed applications with the same name.
        previews: The names of its previews.
        preview_details: The same previews, with their pull requests and directories.
        has_webhook: Whether it has a webhook.
        webhook: Its webhook; ``None`` if there is none, or if its record is damaged.
        releases: The names of its releases, which stay on disk; ``None`` if they cannot be listed.
        secrets: The variables whose stored values are erased.
        is_former: Whether it was removed before, and only its history is left.
        parts: What happens to each part.
    """

    name: str
    target: str | None
    deployments: int
    former: int
    previews: Sequence[str]
    preview_details: Sequence[RemovedPreviewView]
    has_webhook: bool
    webhook: RemovedWebhookView | None
    releases: Sequence[str] | None
    secrets: Sequence[str]
    is_former: bool
    parts: Sequence[RemovalPart]


def plan_removal(api: Api, call: Call) -> Response:
    """List what removing an application would remove, and what would stay. Removes nothing.

    Send the same query as for the removal.
    """
    name, query = checked_name(call.path["application"]), call.query
    try:
        plan = api.installation.removals.plan(name, purge=query.purge, force=query.force)
    except ConfigurationError as error:
        if "deployment" in error.details:
            raise refused_by(error, status=409) from None
        raise missing(error) from None
    parts = removal_parts(
        plan,
        purge=query.purge,
        with_previews=query.with_previews,
        keep_webhook=query.keep_webhook,
    )
    return answer(
        RemovalPlanView(
            name=name,
            target=str(plan.target) if plan.target else None,
            deployments=plan.deployments,
            former=plan.former,
            previews=[each.name for each in plan.previews],
            preview_details=[
                RemovedPreviewView(
                    name=each.name, pull_request=each.number, target=str(each.target)
                )
                for each in plan.previews
            ],
            has_webhook=plan.webhook is not None or plan.webhook_damage is not None,
            webhook=_webhook_of(plan),
            releases=plan.releases,
            secrets=plan.secrets,
            is_former=plan.is_former,
            parts=[RemovalPart(part=part, text=text) for part, text in parts],
        )
    )


def _webhook_of(plan: RemovalPlan) -> RemovedWebhookView | None:
    found = plan.webhook
    return RemovedWebhookView(hosts_id=found.hosts_id, url=found.url) if found else None


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "GET",
        f"{PREFIX}/applications/{{application}}/removal",
        "admin",
        plan_removal,
        {200: RemovalPlanView},
        query=RemovalQuery,
        refusals=(409,),
    ),
)
