"""The operations of the REST API. Their paths and roles are in ``operations``.

Each operation is a function that runs in a thread, takes a :class:`Call` and returns a response.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pydantic import BaseModel
from starlette.responses import Response

from deploycore.applications.application import Application, parse_application
from deploycore.applications.files import Change
from deploycore.applications.shell_words import shell_warnings
from deploycore.configuration import NAME_PATTERN
from deploycore.errors import ConfigurationError
from deploycore.installation import Installation
from deploycore.installation.verification import verify_applications
from deploycore.server import views
from deploycore.server.accounts import Accounts
from deploycore.server.callers import Caller
from deploycore.server.checking import checked
from deploycore.server.edge import note_application
from deploycore.server.health import Readiness
from deploycore.server.hosts import Hosts
from deploycore.server.known_webhooks import Directory
from deploycore.server.listings import Listings
from deploycore.server.metrics import Metrics
from deploycore.server.problems import Refusal, json_response, refused_by
from deploycore.server.recorder import Recorder
from deploycore.server.rollbacks import Rollbacks
from deploycore.server.sign_ins import SignIns
from deploycore.store import ApplicationRecord, DeploymentRecord

__all__ = ["PREFIX", "Api", "Call", "answer", "checked_name", "identifier", "missing"]

PREFIX = "/api/v1"
METRICS_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_CAUSE = "request"
_PRIORITY = 10
"""A request of a waiting person has priority over a push."""

_INTEGER_MOST = 2**31 - 1
_LINES_MOST = 1000
_LINES_WITH_HINT = 20


@dataclass(frozen=True)
class Call:
    """A validated request.

    Attributes:
        path: The parameters of its path.
        query: Its query, as the operation's model.
        body: Its body, a JSON object.
        caller: Who sends it; ``None`` if the operation needs no caller.
    """

    path: Mapping[str, str]
    query: Any
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)  # it may have secrets
    caller: Caller | None = None

    @property
    def actor(self) -> str:
        """Return the requester's name for the history."""
        return self.caller.actor if self.caller else ""


class Api:
    """The operations.

    Operations that are not methods of it are in ``rest``; they take it as their first argument.

    Args:
        document: Returns the API's OpenAPI document. It is called when the document is requested,
            because the document takes long to make.

    Attributes:
        installation: The installation on which the operations work.
        directory: The cache of applications and their webhooks. Invalidate it after a change of
            applications or providers.
        rollbacks: Runs rollbacks.
        sign_ins: Sign-ins of people to git hosts that have begun.
        recorder: Records webhook deliveries.
        hosts: Limits how many requests ask git hosts.
        listings: Lists what providers can read.
        accounts: Checks passwords, and limits attempts.
        targets: The directory to suggest for the directories of new applications, if it was set.
    """

    def __init__(
        self,
        installation: Installation,
        *,
        directory: Directory,
        rollbacks: Rollbacks,
        recorder: Recorder,
        hosts: Hosts,
        listings: Listings,
        accounts: Accounts,
        readiness: Readiness,
        metrics: Metrics,
        targets: Path | None,
        document: Callable[[], Mapping[str, Any]],
    ) -> None:
        self.installation = installation
        self.directory = directory
        self.rollbacks = rollbacks
        self.sign_ins = SignIns()
        self.recorder = recorder
        self.hosts = hosts
        self.listings = listings
        self.accounts = accounts
        self.targets = targets
        self._readiness = readiness
        self._metrics = metrics
        self._document = document

    def health(self, call: Call) -> Response:
        """Report that the process responds."""
        return answer(views.Health(status="ok", checks={}))

    def ready(self, call: Call) -> Response:
        """Report whether the database, the key and this process's workers can be used."""
        found = self._readiness.look()
        return answer(found, status=200 if found.status == "ok" else 503)

    def metrics(self, call: Call) -> Response:
        """Get metrics in Prometheus' text format."""
        return Response(self._metrics.text(), media_type=METRICS_MEDIA_TYPE)

    def openapi(self, call: Call) -> Response:
        """Get this document."""
        return json_response(self._document())

    def put_application(self, call: Call) -> Response:
        """Create or update an application, without deploying it.

        With "verify", the git host is asked first whether the repository and the ref exist. With
        "dry_run", nothing is stored. With "revision", a change that somebody else made meanwhile is
        not overwritten (409).
        """
        name, query = call.path["application"], call.query
        if "name" in call.body:
            raise Refusal(
                422,
                "configuration",
                "name: is not a known field; the path has the name.",
                hint="Remove name from the body.",
            )
        declared = parse_application({**call.body, "name": name})
        self._refuse_other_revision(name, query.revision)
        change = self._applied(declared, query)
        if not query.dry_run:
            self.directory.invalidate()
        exists = not query.dry_run or change.kind != "create"
        view = views.Changed(
            change=change.kind,
            application=views.ApplicationView.of(self.application(name)) if exists else None,
            fields={
                path: views.ChangedField(before=before, after=after)
                for path, (before, after) in change.fields.items()
            },
            warnings=list(shell_warnings(declared)),
        )
        is_new = change.kind == "create" and not query.dry_run
        return answer(view, status=201 if is_new else 200)

    def _applied(self, declared: Application, query: views.ApplicationQuery) -> Change:
        if query.verify:
            change = self.installation.apply([declared], dry_run=True)[0]
            # A dry run is for this check. Otherwise, the declaration was checked before it was
            # stored.
            if query.dry_run or change.fields.keys() & {"provider", "repository", "ref"}:
                self._verify(declared)
            if query.dry_run:
                return change
        return self.apply_at(declared, query.revision, dry_run=query.dry_run)

    def apply_at(
        self, declared: Application, revision: int | None, *, dry_run: bool = False
    ) -> Change:
        """Store an application if its revision is still the expected one. Another request may have
        changed it since it was read, for example during the request to the git host.

        Raises:
            Refusal: It has another revision (409).
        """
        wanted = {} if revision is None else {declared.name: revision}
        try:
            return self.installation.apply([declared], dry_run=dry_run, revisions=wanted)[0]
        except ConfigurationError:
            self._refuse_other_revision(declared.name, revision)
            raise

    def _verify(self, declared: Application) -> None:
        """Ask the git host for the repository and the ref.

        This is separate from storing, so that a check that was abandoned cannot store anything
        later.
        """
        installation = self.installation

        def verify() -> None:
            repository = installation.read_repository(declared.provider, declared.repository)
            wanted = declared.model_copy(update={"repository": str(repository)})
            open_provider = installation.open_application_provider
            verify_applications([wanted], open_provider, installation.git_settings)

        self.hosts.ask(verify)

    def _refuse_other_revision(self, name: str, wanted: int | None) -> None:
        if wanted is None:
            return
        record = self.installation.store.find_applications({name}).get(name)
        if wanted == 0 and record is not None:
            raise Refusal(
                409,
                "conflict",
                f"The application name {name!r} is taken.",
                hint="Choose another name.",
                details={"fields": ["name: is taken"]},
            )
        if wanted and (record is None or record.revision != wanted):
            raise Refusal(
                409,
                "conflict",
                f"The application {name!r} was changed meanwhile.",
                hint="Load it again, and make the change once more.",
            )

    def delete_application(self, call: Call) -> Response:
        """Remove an application and its webhook at the git host. Its releases stay on disk.

        Its history and logs are kept, unless the query has "purge", which also deletes those of
        an application of this name that was removed before. "force" deletes damaged records of
        unfinished deployments. The status is 204 if nothing is left to do, and otherwise 200 with
        a list of what you have to remove yourself.
        """
        name = checked_name(call.path["application"])
        query: views.RemovalQuery = call.query
        try:
            done = self.installation.removals.remove(
                name,
                purge=query.purge,
                end_previews=query.with_previews,
                keep_webhook=query.keep_webhook,
                force=query.force,
            )
        except ConfigurationError as error:
            if "deployment" in error.details:
                raise refused_by(error, status=409) from None
            raise missing(error) from None
        self.directory.invalidate()
        dropped = done.plan.dropped
        if not (done.remains or dropped):
            return Response(status_code=204)
        return answer(
            views.Removed(
                remains=done.remains,
                dropped=dropped,
                error=done.error.message if done.error else None,
                problem=done.error.as_dict() if done.error else None,
            )
        )

    def list_deployments(self, call: Call) -> Response:
        """List deployments and rollbacks, newest first, including those of removed applications."""
        query: views.DeploymentQuery = call.query
        note_application(query.application)
        try:
            found = self.installation.store.deployments.history(
                query.application, state=query.state, before=query.before, limit=query.limit + 1
            )
        except ConfigurationError as error:
            raise missing(error) from None
        items = found[: query.limit]
        following = None
        if len(found) > len(items):
            given = query.model_dump(exclude_none=True) | {"before": items[-1].id}
            following = f"{PREFIX}/deployments?{urlencode(given)}"
        views_of = [views.DeploymentView.of(each) for each in items]
        return answer(views.DeploymentPage(items=views_of, next=following))

    def get_deployment(self, call: Call) -> Response:
        """Get a deployment. If an error ended it, "hint" is the next step."""
        record = self.deployment(call.path["deployment"])
        view = views.DeploymentView.of(record)
        if record.error_code is not None:
            logs = self.installation.engine.logs
            last = logs.end(record.application, record.id, lines=_LINES_WITH_HINT).lines
            hint = next((line.text for _, line in reversed(last) if line.kind == "hint"), None)
            view = view.model_copy(update={"hint": hint})
        return answer(view)

    def request_deployment(self, call: Call) -> Response:
        """Request a deployment of an application's newest commit.

        A commit that is already live is skipped, unless the body has "force". The request is stored
        as a trigger. A worker deploys it, and the trigger then names the deployment.
        """
        application = self.application(call.path["application"])
        wanted = checked(views.DeploymentRequest, call.body)
        record = self.installation.store.triggers.add(
            application.name,
            cause=_CAUSE,
            ref=application.definition.ref,
            actor=call.actor,
            priority=_PRIORITY,
            force=wanted.force,
        )
        assert record is not None  # noqa: S101  only deliveries with an id of their own can repeat
        location = f"{PREFIX}/triggers/{record.id}"
        return answer(views.TriggerView.of(record), status=202, headers={"Location": location})

    def roll_back(self, call: Call) -> Response:
        """Start a rollback to a previous release, without contacting the git host."""
        name = self.application(call.path["application"]).name
        wanted = checked(views.RollbackRequest, call.body)
        begun = self.rollbacks.begin(name, to=wanted.to, requested_by=call.actor)
        record = self.installation.store.deployments.get(begun)
        return _begun(record)

    def cancel_deployment(self, call: Call) -> Response:
        """Cancel a deployment: at once if it waits, otherwise at its next safe point."""
        known = self.deployment(call.path["deployment"])
        try:
            record = self.installation.engine.cancel(known.id)
        except ConfigurationError as error:
            raise refused_by(error, status=409) from None
        return _begun(record)

    def get_trigger(self, call: Call) -> Response:
        """Get a trigger, with the deployment that settled it, if any."""
        number = identifier(call.path["trigger"])
        try:
            record = self.installation.store.triggers.get(number)
        except ConfigurationError as error:
            raise missing(error) from None
        note_application(record.application)
        return answer(views.TriggerView.of(record))

    def read_log(self, call: Call) -> Response:
        """Get the lines of a deployment's log. As text/event-stream, follow it while it runs.

        An event's id is a position in the log. To continue there, send it as Last-Event-ID.
        """
        record = self.deployment(call.path["deployment"])
        query: views.LogQuery = call.query
        logs, name, number = self.installation.engine.logs, record.application, record.id
        if query.search:
            after, most = query.after, query.last or _LINES_MOST
            part = logs.search(name, number, query.search, after, lines=most)
        elif query.last is not None:
            part = logs.end(name, number, lines=query.last)
        else:
            part = logs.part(name, number, query.after, lines=_LINES_MOST)
        return answer(
            views.LogPage(
                items=[views.LogLineView.of(line) for _, line in part.lines],
                position=part.position,
                start=part.start,
                finished=record.is_finished,
            )
        )

    def deployment(self, text: str) -> DeploymentRecord:
        """Return the deployment of a path.

        Raises:
            Refusal: The deployment does not exist (404).
        """
        try:
            record = self.installation.store.deployments.get(identifier(text))
        except ConfigurationError as error:
            raise missing(error) from None
        note_application(record.application)
        return record

    def application(self, name: str) -> ApplicationRecord:
        """Return the application of a path.

        Raises:
            Refusal: The application does not exist (404).
        """
        try:
            return self.installation.store.get_application(checked_name(name))
        except ConfigurationError as error:
            raise missing(error) from None


def checked_name(name: str) -> str:
    """Return the name of an application in a path.

    Raises:
        Refusal: No application can have it (404).
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise Refusal(
            404,
            "not_found",
            f"The application {name[:64]!r} does not exist.",
            hint=f"List the applications: GET {PREFIX}/applications",
        )
    return name


def answer(
    model: BaseModel, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the response for a model."""
    return json_response(model.model_dump(mode="json"), status=status, headers=headers)


def _begun(record: DeploymentRecord) -> Response:
    location = f"{PREFIX}/deployments/{record.id}"
    return answer(views.DeploymentView.of(record), status=202, headers={"Location": location})


def identifier(text: str) -> int:
    """Return the number in a path.

    Raises:
        Refusal: The database cannot contain this number (404).
    """
    if text.isascii() and text.isdigit() and len(text) <= 10 and 0 < int(text) <= _INTEGER_MOST:
        return int(text)
    raise Refusal(
        404,
        "not_found",
        f"{text[:64]!r} is not the id of a deployment or a trigger.",
        hint="Use the id that the list shows, a positive integer.",
    )


def missing(error: ConfigurationError) -> Refusal:
    """Return the response (404) for an error about a name that does not exist."""
    refusal = refused_by(error, status=404)
    refusal.code = "not_found"
    return refusal
