"""List the refs of a repository, as ``git ls-remote`` does, over HTTP or SSH, with retries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dulwich.objects import ObjectID
from dulwich.refs import Ref, check_ref_format

from deploycore.errors import DeploycoreError
from deploycore.git.operation import Operation
from deploycore.git.wire.address import refuse_unusable_source
from deploycore.git.wire.failure import error_of
from deploycore.git.wire.opening import open_client
from deploycore.git.wire.request import BRANCHES, HEAD, Wanted
from deploycore.git.wire.resolving import Nothing
from deploycore.models import CloneUrl

__all__ = ["ListedRefs", "list_refs"]

_MAX_WAIT = 60.0


@dataclass(frozen=True)
class ListedRefs:
    """The refs of a repository.

    Attributes:
        refs: The hash of each ref, by full name; for an annotated tag, the hash of what it tags.
        head: The branch that ``HEAD`` names, if it was asked for and the server says so.
    """

    refs: dict[str, str]
    head: str | None = None


def list_refs(source: CloneUrl, prefixes: Sequence[str], operation: Operation) -> ListedRefs:
    """List the refs whose full names begin with one of some prefixes.

    Raises:
        ConfigurationError: The URL is invalid, or there is no SSH key for it.
        GitError: As in ``fetch``.
    """
    refuse_unusable_source(source, allow_plain_http=operation.settings.allow_plain_http)
    retries, wait = operation.settings.retries, operation.settings.retry_wait
    while True:
        outcome = _attempt(source, [each.encode() for each in prefixes], operation)
        if isinstance(outcome, ListedRefs):
            return outcome
        pause = outcome.pause(wait)
        if pause is None or not retries:
            # Without the traceback, whose frames hold the credential in local variables.
            raise outcome.error.with_traceback(None)
        operation.wait(pause)
        retries, wait = retries - 1, wait * 2


@dataclass(frozen=True)
class _Failure:
    error: DeploycoreError
    again: bool

    def pause(self, wait: float) -> float | None:
        """Seconds to wait before a retry; ``None`` if it would be useless."""
        seconds = self.error.details.get("retry_after")
        if self.error.details.get("status") == 429 and seconds is not None:
            return None if seconds > _MAX_WAIT else max(wait, seconds)
        return wait if self.again else None


def _attempt(
    source: CloneUrl, prefixes: list[bytes], operation: Operation
) -> ListedRefs | _Failure:
    caught: Exception
    with open_client(source, operation, Wanted(), Nothing(frozenset())) as client:
        try:
            refs, symrefs, peeled = client.list_refs(prefixes)
            named = _named({**refs, **peeled}, prefixes)
            # In version 0, servers send this without being asked.
            head = symrefs.get(HEAD) if HEAD in prefixes and refs.get(HEAD) else None
            return ListedRefs(named, _branch(head))
        except Exception as error:
            caught = error
    if not isinstance(caught, DeploycoreError):
        # The connection may have broken because the operation ended and cut it.
        operation.check()
    return _Failure(*error_of(client, source, caught))


def _named(refs: Mapping[Ref, ObjectID | None], prefixes: list[bytes]) -> dict[str, str]:
    found = {}
    for name, commit in sorted(refs.items()):
        if commit is None or not name.startswith(tuple(prefixes)):
            continue  # a branch without a commit, or a ref that was not requested
        if name != HEAD and not check_ref_format(name):
            continue  # for example with control characters, which git itself does not create
        try:
            found[name.decode()] = commit.decode("ascii")
        except UnicodeDecodeError:
            continue
    return found


def _branch(target: Ref | None) -> str | None:
    if target is None or not target.startswith(BRANCHES) or not check_ref_format(target):
        return None
    try:
        return target.removeprefix(BRANCHES).decode()
    except UnicodeDecodeError:
        return None
