"""Operations that read applications, and accept a new repository of one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from starlette.responses import Response

from deploycore.deploy import Releases
from deploycore.errors import DeploycoreError
from deploycore.server.api import PREFIX, Api, Call, answer
from deploycore.server.rest.operation import Operation
from deploycore.server.views import ApplicationPage, ApplicationView, View
from deploycore.store import RepositoryRecord

__all__ = ["OPERATIONS"]

_APPLICATION = f"{PREFIX}/applications/{{application}}"


class HostRepositoryView(View):
    """An application's repository, as its git host identifies it.

    Attributes:
        host_id: The git host's identifier of the repository; ``None`` if it is not known.
        former_names: The previous names of the repository, newest first.
        renamed_at: When its current name was learned; ``None`` if it was not renamed.
        replaced_by: The identifier of another repository that has the name now, so that
            deployments fail; ``None`` if there is none. To deploy from it, accept it.
    """

    host_id: str | None
    former_names: Sequence[str]
    renamed_at: datetime | None
    replaced_by: str | None

    @classmethod
    def of(cls, record: RepositoryRecord) -> HostRepositoryView:
        """The view of a record."""
        return cls(
            host_id=record.host_id,
            former_names=record.former_names,
            renamed_at=record.renamed_at,
            replaced_by=record.other_host_id,
        )


class ApplicationDetailView(ApplicationView):
    """An application, its live release, and its repository at the git host.

    Attributes:
        current: The directory of the live release on the server; ``None`` if there is none.
        problem: Why the live release cannot be read, as an error; ``None`` if it can.
        host_repository: What is known of its repository; ``None`` before the first deployment.
    """

    current: str | None
    problem: dict[str, Any] | None
    host_repository: HostRepositoryView | None


class AcceptedRepository(View):
    """The repository that an application deploys from.

    Attributes:
        repository: The repository that the next deployment uses, by its name.
    """

    application: str
    repository: str


def list_applications(api: Api, call: Call) -> Response:
    """List the applications."""
    store = api.installation.store
    parents = {each.name: each.parent for each in store.previews.list()}
    records = store.list_applications()
    items = [ApplicationView.of(each, preview_of=parents.get(each.name)) for each in records]
    return answer(ApplicationPage(items=items))


def get_application(api: Api, call: Call) -> Response:
    """Get an application, its declaration and its live release."""
    record, store = api.application(call.path["application"]), api.installation.store
    preview = store.previews.find(record.name)
    known = store.repositories.find(record.definition)
    current, problem = None, None
    try:
        current = Releases(record.definition.target).current
    except DeploycoreError as error:  # the directory must not hide everything else
        problem = error.as_dict()
    view = ApplicationView.of(record, preview_of=preview.parent if preview else None)
    return answer(
        ApplicationDetailView(
            **dict(view),
            current=str(current) if current else None,
            problem=problem,
            host_repository=HostRepositoryView.of(known) if known else None,
        )
    )


def accept_repository(api: Api, call: Call) -> Response:
    """Deploy from the new repository that now has the name of the application's repository.

    Use this if the repository was deleted and created again, or replaced by another one.
    """
    record = api.application(call.path["application"])
    api.installation.store.repositories.forget(record.name)
    api.directory.invalidate()
    return answer(
        AcceptedRepository(application=record.name, repository=record.definition.repository)
    )


OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", f"{PREFIX}/applications", "read", list_applications, {200: ApplicationPage}),
    Operation("GET", _APPLICATION, "read", get_application, {200: ApplicationDetailView}),
    Operation(
        "POST",
        f"{_APPLICATION}/accept-repository",
        "admin",  # other code runs after that
        accept_repository,
        {200: AcceptedRepository},
    ),
)
