"""A request for one commit of a server: what is wanted, what was found, and what takes the pack."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from dulwich.refs import Ref, check_ref_format

from deploycore.errors import ConfigurationError
from deploycore.git.packs.objects import ObjectFormat
from deploycore.git.wording import clean

__all__ = ["BRANCHES", "HEAD", "Fetched", "Intake", "Wanted", "is_hash_of"]

HEAD = Ref(b"HEAD")
BRANCHES = b"refs/heads/"
_TAGS = b"refs/tags/"
_HASH = re.compile("[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(frozen=True)
class Wanted:
    """What to fetch: the commit of a branch or of a tag, or one commit by its hash.

    Attributes:
        ref: A branch, a tag, the full name of any ref, or a full hash. ``None`` with no
            commit given: the branch that the server's HEAD names.
        commit: Exactly this commit, wherever the ref is now; ``None`` for where it is.
        is_seen: Whether who names the commit has seen it on the host, with this credential. If
            not, what is held is no answer: the host is asked whether one may have it.
    """

    ref: str | None = None
    commit: str | None = None
    is_seen: bool = False

    @property
    def exactly(self) -> str | None:
        """The hash that is wanted, if it is known without asking."""
        if self.commit is None and self.ref is not None and _HASH.fullmatch(self.ref):
            return self.ref
        return self.commit

    @property
    def refs(self) -> list[Ref]:
        """The refs that may be meant, the first that the server has is."""
        if self.ref is None or self.exactly == self.ref:
            return [HEAD]
        name = self.ref.encode("utf-8", "surrogateescape")
        if name.startswith(b"refs/"):
            return [Ref(name)]
        return [Ref(BRANCHES + name), Ref(_TAGS + name)]

    def refuse_malformed(self) -> None:
        """Refuse names that no server can have.

        Raises:
            ConfigurationError: Git does not allow the ref's name, or this is no hash.
        """
        if not self._is_named_rightly:
            raise ConfigurationError(
                f"Git does not allow a branch or tag named {clean(self.ref or '')!r}.",
                hint="Check the name.",
            )
        if self.commit is not None and not _HASH.fullmatch(self.commit):
            raise ConfigurationError(
                f"{clean(self.commit)!r} is not the full hash of a commit.",
                hint="Give all of its hexadecimal digits, in lower case.",
            )

    @property
    def _is_named_rightly(self) -> bool:
        try:
            return self.refs == [HEAD] or check_ref_format(self.refs[0])
        except UnicodeEncodeError:  # half of a surrogate pair
            return False


@dataclass(frozen=True)
class Fetched:
    """What was found on the server.

    Attributes:
        commit: Full hash; that of a tag object where the server did not say what it tags.
        ref: The ref's full name; ``HEAD`` where a commit was asked for by its hash.
        shallow: Whether the server left out the commit's parents, should it have any.
        received: Whether there was anything to receive: nothing is, where the commit is held.
        tag: The hash of the annotated tag that the ref is, which was received too; else empty.
        capabilities: Of the server, in protocol version 2; empty if it speaks another.
        redirected_to: The repository's address, if the server redirected to another one.
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
        """The name of the branch or tag, for people; the hash where there is none."""
        if self.ref == HEAD:
            return self.commit
        return clean(self.ref.removeprefix(BRANCHES).removeprefix(_TAGS))


class Intake(Protocol):
    """Where what is fetched goes to.

    Attributes:
        capabilities: What the server said formerly, in protocol version 2; may be empty.
    """

    capabilities: frozenset[bytes]

    def holds(self, commit: str) -> bool:
        """Whether a commit need not be fetched."""

    def haves(self) -> list[str]:
        """Commits that are held, which the server may build upon."""

    def begin(self, commit: str) -> None:
        """A pack with this commit is going to come; one that came before counts no more.

        The commit's name tells the object format: what is held in another one is of no use.
        """

    def feed(self, data: bytes) -> None:
        """The next bytes of the pack."""


def is_hash_of(commit: str, object_format: ObjectFormat) -> bool:
    """Whether a commit can have this name in a repository of this object format."""
    return len(commit) == object_format.digits and _HASH.fullmatch(commit) is not None
