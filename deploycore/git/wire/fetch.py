"""Fetch one commit from a server, over HTTP or SSH, with retries.

All other refs of the server are ignored, so that an odd one cannot block a deployment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from functools import partial
from typing import NamedTuple

from dulwich.objects import ObjectID
from dulwich.refs import Ref, check_ref_format

from deploycore.errors import (
    Cancelled,
    CorruptPack,
    DeploycoreError,
    GitError,
    HostKeyRefused,
    KeyRefused,
    LimitExceeded,
    RemoteRefused,
    UnsafeRepository,
)
from deploycore.git.operation import Operation
from deploycore.git.packs.objects import OBJECT_FORMATS
from deploycore.git.wire.address import refuse_unusable_source
from deploycore.git.wire.client import GitClient, Lost, too_many_bytes
from deploycore.git.wire.destination import Destinations
from deploycore.git.wire.failure import error_of
from deploycore.git.wire.opening import open_client
from deploycore.git.wire.request import BRANCHES, HEAD, Fetched, FetchReceiver, Wanted, is_hash_of
from deploycore.git.wording import clean
from deploycore.models import CloneUrl
from deploycore.text.suggestions import about_hashes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dulwich.client import FetchPackResult

__all__ = ["fetch"]

_PROTOCOL_2 = 2


def fetch(
    source: CloneUrl,
    wanted: Wanted,
    receiver: FetchReceiver,
    operation: Operation,
    *,
    within: Destinations | None = None,
) -> Fetched:
    """Fetch one commit, without its history.

    After a broken connection or a timeout, the fetch starts again from the beginning.

    Args:
        receiver: Receives the pack.
        within: The addresses that a submodule may have; ``None`` if this is not a submodule.

    Raises:
        ConfigurationError: The URL or the ref's name is invalid.
        RemoteRefused: The server refused the credential, or does not have the repository, ref or
            commit.
        LimitExceeded: The pack is too large, or the fetch takes too long.
        UnsafeRepository: A submodule must not have this address.
        Cancelled: The operation was cancelled.
        GitError: The server cannot be reached, failed, or does not speak the git protocol.
    """
    refuse_unusable_source(source, allow_plain_http=operation.settings.allow_plain_http)
    exactly = wanted.exactly
    if exactly and wanted.is_seen and receiver.holds(exactly):
        return Fetched(exactly, wanted.refs[0], shallow=False, received=False)
    retries, wait = operation.settings.retries, operation.settings.retry_wait
    while True:
        outcome = _Attempt(source, wanted, receiver, operation, within).outcome()
        if isinstance(outcome, Fetched):
            return outcome
        if receiver.capabilities and _may_have_changed(outcome.error):
            # The server may have changed: ask for its capabilities again.
            receiver.capabilities = frozenset()
            continue
        if not outcome.again or not retries:
            # Without the traceback, whose frames hold the credential in local variables.
            raise outcome.error.with_traceback(None)
        operation.wait(wait)
        retries, wait = retries - 1, wait * 2


def _may_have_changed(error: DeploycoreError) -> bool:
    if isinstance(error, LimitExceeded | UnsafeRepository | CorruptPack | Cancelled):
        return False
    if isinstance(error, KeyRefused | HostKeyRefused):
        return False
    return isinstance(error, GitError) and error.details.get("status") not in (401, 403, 429)


class _Failure(NamedTuple):
    error: DeploycoreError
    again: bool


class _Attempt:
    def __init__(
        self,
        source: CloneUrl,
        wanted: Wanted,
        receiver: FetchReceiver,
        operation: Operation,
        within: Destinations | None,
    ) -> None:
        self._source = source
        self._within = within
        self._wanted = wanted
        self._receiver = receiver
        self._operation = operation
        self._ref = HEAD
        self._tip: ObjectID | None = None
        self._tag = ""
        self._asked = False
        self._received = 0

    def outcome(self) -> Fetched | _Failure:
        caught: Exception
        wanted, receiver = self._wanted, self._receiver
        with open_client(self._source, self._operation, wanted, receiver) as client:
            try:
                if self._within is not None:
                    client.stay_within(self._within)
                return self._fetched(client)
            except Exception as error:
                caught = error
        if not isinstance(caught, DeploycoreError):
            # The connection may have broken because the operation ended and cut it.
            self._operation.check()
        return self._failure(client, caught)

    def _failure(self, client: GitClient, caught: Exception) -> _Failure:
        error, again = error_of(client, self._source, caught)
        if isinstance(caught, Lost):
            caught = caught.error
        if client.refusal:
            return _Failure(self._explained(error), self._may_have_moved)
        if isinstance(caught, DeploycoreError):
            again = again or (_failed(caught) and self._may_have_moved)
            return _Failure(self._explained(caught), again)
        return _Failure(error, again)

    def _fetched(self, client: GitClient) -> Fetched:
        walker = _Haves(self._receiver)
        result = client.fetch_pack(
            b"",
            lambda refs, depth=None: self._wants(client, refs),
            walker,
            partial(self._feed, client),
            depth=1,
            ref_prefix=[HEAD, *(each for each in self._wanted.refs if each != HEAD)],
        )
        return self._described(client, result)

    def _feed(self, client: GitClient, data: bytes) -> int:
        client.pack_has_begun = True
        self._operation.enter("receiving")
        self._received += len(data)
        if self._received > self._operation.settings.max_pack_bytes:
            raise too_many_bytes(self._operation)
        self._receiver.feed(data)
        return len(data)

    def _described(self, client: GitClient, result: FetchPackResult) -> Fetched:
        commit = self._commit
        if not commit:
            raise self._nothing_there()
        ref: bytes = self._ref
        if ref == HEAD and not self._wanted.exactly:
            ref = result.symrefs.get(HEAD, HEAD)
            if not ref.startswith(BRANCHES) or not check_ref_format(Ref(ref)):
                raise RemoteRefused(
                    f"The git server of {self._source.url} does not name its default branch.",
                    hint="Specify a branch.",
                    url=self._source.url,
                )
        return Fetched(
            commit,
            ref,
            shallow=bool(result.new_shallow),
            received=self._asked,
            tag=self._tag,
            capabilities=client.server_capabilities,
            redirected_to=client.redirected_to,
        )

    @property
    def _commit(self) -> str:
        return self._wanted.exactly or (self._tip or b"").decode()

    @property
    def _may_have_moved(self) -> bool:
        """Whether the ref may have moved since the server announced its commit: then retry."""
        return self._asked and self._commit.encode() == self._tip

    def _wants(self, client: GitClient, refs: Mapping[Ref, ObjectID]) -> list[ObjectID]:
        self._ref = next((each for each in self._wanted.refs if each in refs), HEAD)
        tip = refs.get(self._ref)
        self._tip = client.peeled.get(self._ref) or tip
        if self._ref not in self._wanted.refs and not client.has_not_asked_for_refs:
            is_all = client.protocol_version != _PROTOCOL_2
            raise self._unknown_ref(empty=not refs if is_all or refs else None)
        commit = self._commit
        if commit:
            self._refuse_other_format(commit, client.object_formats)
        if not commit or self._receiver.holds(commit):
            return []
        self._asked = True
        self._receiver.begin(commit)
        if tip and tip != self._tip and commit.encode() == self._tip:
            # The tag brings its commit. In version 0, servers send only what they advertise.
            self._tag = tip.decode()
            return [tip]
        return [ObjectID(commit.encode())]

    def _refuse_other_format(self, commit: str, formats: Set[str]) -> None:
        """Refuse a commit whose object format the server lacks, or that is not supported."""
        known = [each for each in OBJECT_FORMATS if each.name in formats]
        if not known:
            raise RemoteRefused(
                f"The repository {self._source.url} has the object format"
                f" {clean(' '.join(sorted(formats)))!r}, which is not supported.",
                hint="Deploy from a repository with the object format"
                f" {' or '.join(each.name for each in OBJECT_FORMATS)}.",
                url=self._source.url,
            )
        if not any(is_hash_of(commit, each) for each in known):
            raise RemoteRefused(
                f"{clean(commit)!r} is not a commit hash in the repository {self._source.url}. Its"
                f" object format is {known[0].name}, whose hashes have {known[0].digits}"
                " hexadecimal digits.",
                hint="Use the hash of a commit in this repository: git log lists them.",
                url=self._source.url,
            )

    def _unknown_ref(self, *, empty: bool | None) -> RemoteRefused:
        """Return the error for a ref that the server does not have.

        Args:
            empty: Whether it has no refs at all; ``None`` if only this ref was requested.
        """
        ref = clean(self._wanted.ref or "")
        check = about_hashes(ref) or "Check the name; upper and lower case differ."
        push = "Push a first commit to it."
        both = f"{check} If nothing was pushed to the repository yet, push a first commit."
        return RemoteRefused(
            f"The repository {self._source.url} has no branch or tag {ref!r}"
            f"{': it is empty' if empty else ''}.",
            hint=both if empty is None else push if empty else check,
            url=self._source.url,
            ref=ref,
        )

    def _nothing_there(self) -> RemoteRefused:
        return RemoteRefused(
            f"The repository {self._source.url} is empty, or has no default branch.",
            hint="Push a first commit, or specify a branch.",
            url=self._source.url,
        )

    def _explained(self, error: DeploycoreError) -> DeploycoreError:
        """Add what is known if a commit that was requested by its hash is refused."""
        commit = self._wanted.exactly
        if not self._asked or commit is None or commit == (self._tip or b"").decode():
            return error
        if not isinstance(error, RemoteRefused) and not _failed(error):
            return error
        where = f"The git server of {self._source.url} did not send commit {commit}"
        named = self._wanted.ref if self._wanted.ref != commit else None
        moved_to = None
        if self._tip is not None and named is not None:
            moved_to = self._tip.decode()
            where = (
                f"{clean(named)!r} of {self._source.url} has moved from"
                f" {commit} to {moved_to}, and the server no longer sends {commit}"
            )
        return RemoteRefused(
            f"{where} ({error.message})",
            hint="Deploy the newest commit of the branch."
            if named
            else "Check that the commit was pushed, and that it is the newest commit of a branch.",
            url=self._source.url,
            commit=commit,
            moved_to=moved_to,
        )


def _failed(error: DeploycoreError) -> bool:
    """Whether a failure may mean that the commit was refused: some servers answer with 500."""
    return error.details.get("status") == 500


class _Haves:
    """Sends the server the commits that are already here, without their parents.

    dulwich's own class fails if the server confirms a commit with a SHA-256 hash. The commits are
    listed late, since they depend on the server's object format.
    """

    def __init__(self, receiver: FetchReceiver) -> None:
        self._receiver = receiver
        self._left: Iterator[str] | None = None

    @property
    def shallow(self) -> set[ObjectID]:
        return {ObjectID(each.encode()) for each in self._receiver.haves()}

    def __next__(self) -> ObjectID | None:
        if self._left is None:
            self._left = iter(self._receiver.haves())
        have = next(self._left, None)
        return ObjectID(have.encode()) if have else None

    def ack(self, sha: ObjectID) -> None:
        """Ignore a confirmation: all commits are in one request, so nothing depends on it."""

    def nak(self) -> None:
        """Ignore the end of the confirmations, too."""
