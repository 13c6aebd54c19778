"""Operations about the current state of applications: for lists, and for one application."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode

from pydantic import Field, field_validator
from starlette.responses import Response

from deploycore.errors import ConfigurationError
from deploycore.server.api import PREFIX, Api, Call, answer, checked_name, missing
from deploycore.server.feed import position_text
from deploycore.server.rest.operation import Operation
from deploycore.server.views import DeploymentView, Given, TriggerView, View
from deploycore.store import DeploymentState
from deploycore.store.overview import Attention, Counts, Place, Standing, Which

__all__ = ["OPERATIONS", "StandingView"]

_WORDS_MOST = 10
_PLACE = re.compile(r"([01])\.(\d{1,10})\.([0-9A-Za-z._-]{1,63})", re.ASCII)


class StandingView(View):
    """An application, with its current state.

    Attributes:
        name: The name of the application.
        ref: The branch, tag or commit that is deployed.
        target: The directory of the application. Its live release is at ``current`` in it.
        host: The only machine that deploys the application; ``None`` for any machine.
        state: The state of its newest deployment; ``None`` if there is none.
        attention: Why somebody should look at it: its last deployment failed, a deployment or a
            request for one is stuck, or the provider's credentials have expired.
        last: Its newest deployment or rollback.
        live: The deployment or rollback that made the current release live.
        request: The oldest request for a deployment that waits.
        next_poll_at: When the git host is polled next.
        preview_of: The application that it is a preview of.
        pull_request: The number of the pull request, for a preview.
        credentials_expire_at: When the provider's credentials expire; ``None`` if it is not known.
    """

    name: str
    provider: str
    repository: str
    ref: str
    target: str
    host: str | None
    created_at: datetime
    state: DeploymentState | None
    attention: Attention | None
    last: DeploymentView | None
    live: DeploymentView | None
    request: TriggerView | None
    next_poll_at: datetime | None
    preview_of: str | None
    pull_request: int | None
    credentials_expire_at: datetime | None

    @classmethod
    def of(cls, standing: Standing) -> StandingView:
        """The view of an application's current state."""
        application, preview = standing.application, standing.preview
        last, live, request = standing.last, standing.live, standing.request
        return cls(
            name=application.name,
            provider=application.provider,
            repository=application.repository,
            ref=application.ref,
            target=str(application.target),
            host=application.host,
            created_at=standing.created_at,
            state=last.state if last else None,
            attention=standing.attention,
            last=last and DeploymentView.of(last),
            live=live and DeploymentView.of(live),
            request=request and TriggerView.of(request),
            next_poll_at=standing.poll.due_at if standing.poll else None,
            preview_of=preview.parent if preview else None,
            pull_request=preview.number if preview else None,
            credentials_expire_at=standing.credentials_expire_at,
        )


class CountsView(View):
    """Numbers of applications.

    Attributes:
        all: All applications.
        attention: Applications that need attention.
        running: Applications with a running or waiting deployment.
        never: Applications that were never deployed.
    """

    all: int
    attention: int
    running: int
    never: int

    @classmethod
    def of(cls, counts: Counts) -> CountsView:
        """The view of numbers."""
        return cls.model_validate(counts)


class OverviewPage(View):
    """A page of applications. Those that need attention come first.

    Attributes:
        counts: Numbers of applications that match the search and the provider.
        position: The position in the stream of events. Send it as ``after`` to follow events from
            here on.
    """

    items: Sequence[StandingView]
    counts: CountsView
    position: str
    next: str | None


class OneStanding(StandingView):
    """One application, with its current state.

    Attributes:
        position: The position in the stream of events. Send it as ``after`` to follow events from
            here on.
    """

    position: str


class PreviewPage(View):
    """The previews of an application, sorted by their pull requests.

    Attributes:
        items: The previews.
    """

    items: Sequence[StandingView]


class OverviewQuery(Given):
    """The applications to return.

    Attributes:
        which: Return only applications in this state.
        provider: Return only applications of this provider.
        search: Return only applications whose name or declaration contains all of these words, at
            most ten; case is ignored.
        after: Return applications after this position. Use the path in ``next``.
    """

    which: Which = "all"
    provider: Annotated[str, Field(max_length=63)] | None = None
    search: Annotated[str, Field(max_length=200)] = ""
    after: Annotated[str, Field(max_length=80)] | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 30

    @field_validator("search")
    @classmethod
    def _has_few_words(cls, text: str) -> str:
        if len(text.split()) > _WORDS_MOST:  # each word is searched in every application
            raise ValueError(f"should have at most {_WORDS_MOST} words")
        return text

    @field_validator("after")
    @classmethod
    def _is_a_place(cls, text: str | None) -> str | None:
        if text is not None and not _PLACE.fullmatch(text):
            raise ValueError("should be the one of the page's next")
        return text

    @property
    def place(self) -> Place | None:
        """Return the position that ``after`` contains."""
        found = _PLACE.fullmatch(self.after or "")
        if found is None:
            return None
        return Place(found[1] == "1", min(int(found[2]), 2**31 - 1), found[3])


def get_overview(api: Api, call: Call) -> Response:
    """List the applications with their current state. Those that need attention come first.

    An application needs attention if its last deployment failed, if a deployment or a request for
    one takes more than an hour or fails again and again, or if the provider's credentials have
    expired.
    """
    query: OverviewQuery = call.query
    store = api.installation.store
    position = position_text(store.changes.mark())
    found = store.overview.list(
        which=query.which,
        provider=query.provider,
        search=query.search,
        after=query.place,
        limit=query.limit,
    )
    following = None
    if not found.is_last and found.items:
        last = found.items[-1].place
        after = f"{int(last.attention)}.{last.deployment}.{last.name}"
        given = query.model_dump(exclude_defaults=True) | {"after": after}
        following = f"{PREFIX}/overview?{urlencode(given)}"
    return answer(
        OverviewPage(
            items=[StandingView.of(each) for each in found.items],
            counts=CountsView.of(found.counts),
            position=position,
            next=following,
        )
    )


def get_standing(api: Api, call: Call) -> Response:
    """Get the current state of an application: what is live, what runs, what needs attention."""
    store = api.installation.store
    position = position_text(store.changes.mark())
    try:
        found = store.overview.get(checked_name(call.path["application"]))
    except ConfigurationError as error:
        raise missing(error) from None
    return answer(OneStanding(position=position, **StandingView.of(found).model_dump()))


def list_previews(api: Api, call: Call) -> Response:
    """List the previews of an application with their current state."""
    name = api.application(call.path["application"]).name
    found = api.installation.store.overview.previews(name)
    return answer(PreviewPage(items=[StandingView.of(each) for each in found]))


_APPLICATION = f"{PREFIX}/applications/{{application}}"

OPERATIONS = (
    Operation(
        "GET",
        f"{PREFIX}/overview",
        "read",
        get_overview,
        {200: OverviewPage},
        query=OverviewQuery,
    ),
    Operation("GET", f"{_APPLICATION}/overview", "read", get_standing, {200: OneStanding}),
    Operation("GET", f"{_APPLICATION}/previews", "read", list_previews, {200: PreviewPage}),
)
