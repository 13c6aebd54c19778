"""Operations on the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode

from pydantic import AfterValidator, AwareDatetime, Field
from starlette.responses import Response

from deploycore.server.api import PREFIX, Api, Call, answer
from deploycore.server.rest.operation import Operation
from deploycore.server.views import Given, Identifier, View

__all__ = ["OPERATIONS"]


def _in_range(at: datetime) -> datetime:
    """A time that all databases can compare in UTC."""
    if not 1000 <= at.year <= 9000:
        raise ValueError("the year must be between 1000 and 9000")
    return at


Time = Annotated[AwareDatetime, AfterValidator(_in_range)]
Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


class EntryView(View):
    """An entry of the audit log.

    Attributes:
        id: The id of the entry. Newer entries have higher ids.
        at: When it happened.
        actor: Who did it, such as ``user ada`` or ``token ci``; may be empty.
        operation: What was done.
        kind: The kind of what it was done to, such as ``application``; may be empty.
        subject: The name or number of what it was done to.
        outcome: ``done``, or the code of the error.
        request: The id of the request in the server's log.
        address: The network address that the request came from.
    """

    id: int
    at: datetime
    actor: str
    operation: str
    kind: str
    subject: str
    outcome: str
    request: str
    address: str


class AuditPage(View):
    """A page of entries, newest first."""

    items: Sequence[EntryView]
    next: str | None


class AuditQuery(Given):
    """The entries to return.

    Attributes:
        actor: Return only entries of this user or token, such as ``user ada``.
        operation: Return only entries of this operation.
        subject: Return only entries about this name or number.
        since: Return only entries from this time on.
        until: Return only entries before this time.
        before: Return entries that are older than the entry with this id.
    """

    actor: Text | None = None
    operation: Text | None = None
    subject: Text | None = None
    since: Time | None = None
    until: Time | None = None
    before: Identifier | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


def list_audit(api: Api, call: Call) -> Response:
    """List the audit log: who changed what, newest first.

    It has the operations that change something, sign-ins and sign-outs, and what was refused to
    users and tokens. Entries are kept for a year, and at most 100,000.
    """
    query: AuditQuery = call.query
    wanted = query.model_dump(exclude={"limit"})
    found = api.installation.store.audit.list(**wanted, limit=query.limit + 1)
    items, following = found[: query.limit], None
    if len(found) > len(items):
        given = query.model_dump(mode="json", exclude_none=True) | {"before": items[-1].id}
        following = f"{PREFIX}/audit?{urlencode(given)}"
    views = [EntryView.model_validate(each) for each in items]
    return answer(AuditPage(items=views, next=following))


OPERATIONS = (
    Operation("GET", f"{PREFIX}/audit", "admin", list_audit, {200: AuditPage}, query=AuditQuery),
)
