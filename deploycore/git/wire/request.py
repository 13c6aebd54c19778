"""The request for one commit, its result, and the interface of what receives the pack."""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol

from dulwich.refs import Ref, check_ref_format

from deploycore.errors import ConfigurationError
from deploycore.git.packs.objects import ObjectFormat
from deploycore.git.wording import clean, quoted

__all__ = ["BRANCHES", "HEAD", "FetchReceiver", "Fetched", "Wanted", "is_hash_of"]

HEAD = Ref(b"HEAD")
BRANCHES = b"refs/heads/"
_TAGS = b"refs/tags/"
_HASH = re.compile("[0-9a-f]{40}(?:[0-9a-f]{24})?")


class Wanted(NamedTuple):
    """The commit to fetch: that of a branch or a tag, or one that is given by its hash.

    Attributes:
        ref: A branch, a tag, the full name of any ref, or a full hash. ``None``, without a
            commit, stands for the server's default branch.
        commit: The full hash of the commit, even if the ref has moved; ``None`` for the newest
            commit of the ref.
        is_seen: Whether the caller has seen the commit on the host with this credential. If not,
            the host is asked even for a commit in the cache, since it may deny access.
    """

    ref: str | None = None
    commit: str | None = None
    is_seen: bool = False

    @property
    def exactly(self) -> str | None:
        """The hash of the wanted commit, if it is known without asking the server."""
        if self.commit is None and self.ref is not None and _HASH.fullmatch(self.ref):
            return self.ref
        return self.commit

    @property
    def refs(self) -> list[Ref]:
        """The refs that the name can stand for. The first one that the server has is used."""
        if self.ref is None or self.exactly == self.ref:
            return [HEAD]
        name = self.ref.encode("utf-8", "surrogateescape")
        if name.startswith(b"refs/"):
            return [Ref(name)]
        return [Ref(BRANCHES + name), Ref(_TAGS + name)]

    def refuse_malformed(self) -> None:
        """Refuse names that git does not allow.

        Raises:
            ConfigurationError: The ref's name is not allowed, or the commit is not a full hash.
        """
        if not self._is_named_rightly:
            written = (self.ref or "").encode("utf-8", "backslashreplace")
            raise ConfigurationError(
                f"Git does not allow a branch or tag named {quoted(written)}.",
                hint="Name a branch, a tag or a full commit hash, not an expression like main~1.",
            )
        if self.commit is not None and not _HASH.fullmatch(self.commit):
            raise ConfigurationError(
                f"{clean(self.commit)!r} is not the full hash of a commit.",
                hint="Specify all 40 or 64 hexadecimal digits, in lower case.",
            )

    @property
    def _is_named_rightly(self) -> bool:
        try:
            return self.refs == [HEAD] or check_ref_format(self.refs[0])
        except UnicodeEncodeError:  # half of a surrogate pair
            return False


class Fetched(NamedTuple):
    """The result of a fetch.

    Attributes:
        commit: Full hash; that of a tag object if the server did not say what it tags.
        ref: The ref's full name; ``HEAD`` if a commit was requested by its hash.
        shallow: Whether the server left out the commit's parents, if it has any.
        received: Whether a pack was received. None is if the commit is in the cache.
        tag: The hash of the ref's annotated tag, which was received too; empty if there is none.
        capabilities: The server's capabilities in protocol version 2; empty for other versions.
        redirected_to: The repository's new URL, if the server redirected to another one.
    """

    commit: str
    ref: bytes
    shallow: bool
    received: bool
    tag: str = ""
    capabilities: frozenset[bytes] = frozenset()
    redirected_to: str = ""

    @property
    def name(self) -> str:
        """The short name of the branch or tag; the hash if there is none."""
        if self.ref == HEAD:
            return self.commit
        return clean(self.ref.removeprefix(BRANCHES).removeprefix(_TAGS))


class FetchReceiver(Protocol):
    """Receives what is fetched.

    Attributes:
        capabilities: The server's capabilities in protocol version 2, if they are known.
    """

    capabilities: frozenset[bytes]

    def holds(self, commit: str) -> bool:
        """Whether a commit is there already, so that it need not be fetched."""

    def haves(self) -> list[str]:
        """Commits that are there, which the server may build on."""

    def begin(self, commit: str) -> None:
        """Start to receive a pack with this commit; what was received before is dropped.

        The length of the hash shows the object format. Objects in another format cannot be used.
        """

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the pack."""


def is_hash_of(commit: str, object_format: ObjectFormat) -> bool:
    """Whether a commit can have this name in a repository of this object format."""
    return len(commit) == object_format.digits and _HASH.fullmatch(commit) is not None
