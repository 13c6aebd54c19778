"""The two things that git is wanted for: a commit's files, and a working clone of a branch.

What does the work is imported when there is some: dulwich takes a tenth of a second to load,
which commands that fetch nothing should not pay for.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from deploycore.git.operation import Operation, letting_listeners_fail
from deploycore.git.progress import Cancellation, CheckedOut, ProgressListener, no_progress
from deploycore.git.settings import EscapingLinks, GitSettings, Reuse
from deploycore.models import CloneUrl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deploycore.git.repositories.cache import RepositoryCache
    from deploycore.git.watched import Watched

__all__ = ["clone", "export", "refuse_malformed_patterns", "resolve"]


def export(
    source: CloneUrl,
    ref: str,
    target: Path,
    *,
    commit: str | None = None,
    submodules: bool = False,
    attributes: bool = False,
    lfs: bool = False,
    cache: RepositoryCache | None = None,
    former: Path | None = None,
    reuse: Reuse = "copy",
    escaping_links: EscapingLinks = "refuse",
    allowed_links: Collection[str] = (),
    name: str = "",
    watched: Watched | None = None,
    progress: ProgressListener = no_progress,
    cancellation: Cancellation | None = None,
    settings: GitSettings | None = None,
) -> CheckedOut:
    """Put the files of a commit at ``target``, without any ``.git``.

    All of them, flushed to the disk, or nothing: the target appears in one step.

    Args:
        ref: A branch, a tag, the full name of a ref, or the full hash of a commit.
        target: Must not exist, or be an empty directory.
        commit: Exactly this commit, full hash, even if the ref has moved. Who gives it has seen
            it on the host with this credential: if the cache has it, the host is not asked.
        submodules: Whether to fetch them too; otherwise their places stay empty directories.
        attributes: Whether ``export-ignore``, ``text`` and ``eol`` of ``.gitattributes`` are
            obeyed, as ``git archive`` does on Linux. Filters and other drivers never are. Files
            are then written when all have arrived, and not while they do.
        lfs: Whether files that ``.gitattributes`` says are kept in Git LFS are downloaded;
            otherwise their pointers are written. The repository's ``.lfsconfig`` is not read.
        cache: Where what is fetched is kept, so that the next export fetches what is new.
        former: The target of an export of the same repository, made with the same cache.
            Files that are the same, and were not touched since, are taken from there.
        reuse: How they are: ``copy`` shares blocks where the file system can. ``hard-link``
            is faster, but makes one file of both: who writes into one of the two writes into
            the other. Only for releases that nobody writes into.
        escaping_links: Symbolic links that lead out of the release, or could be made to, fail
            the export; or they become files that hold what the link would have said, so that
            who serves the release serves nothing else. ``write-as-links`` writes them as they
            are, as git does.
        allowed_links: Paths of such links that are written as they are in any case; those that
            end in a slash are directories with such links.
        name: Of the repository on its host, ``owner/slug``: tells where on the host submodules
            are whose URL is for SSH.
        watched: Paths of which one must have changed. They are compared when the commit has been
            fetched, before anything is written.

    Raises:
        NothingWatchedChanged: No path in ``watched`` has changed.
        ConfigurationError: The target, the URL or the ref's name can't be used.
        RemoteRefused: Credentials, repository, ref or commit are refused or unknown;
            ``details["status"]`` is the HTTP status where there was one.
        UnsafeRepository: The repository holds what must not be written.
        LimitExceeded: A limit of the settings was reached.
        CorruptPack: What the server sent is damaged.
        Cancelled: The operation was asked to stop.
        GitError: Any other failure of the network or the file system.
    """
    from deploycore.git.checkout.changes import Obeyed
    from deploycore.git.checkout.links import LinkRules
    from deploycore.git.run import Options, run
    from deploycore.git.wire.request import Wanted

    operation = Operation(
        settings or GitSettings(), progress, cancellation or Cancellation(), home=source.url
    )
    options = Options(
        submodules=submodules,
        obeyed=Obeyed(archive=attributes, lfs=lfs),
        cache=cache,
        former=former,
        reuse=reuse,
        links=LinkRules(escaping_links, frozenset(map(os.fsencode, allowed_links))),
        name=name,
        watched=watched,
    )
    wanted = Wanted(ref, commit, is_seen=commit is not None)
    return letting_listeners_fail(lambda: run(source, wanted, target, operation, options))


def resolve(
    source: CloneUrl,
    ref: str,
    *,
    cache: RepositoryCache | None = None,
    cancellation: Cancellation | None = None,
    settings: GitSettings | None = None,
) -> str:
    """The full hash of the commit that a branch or a tag is now; one request, or two.

    Args:
        ref: As ``export`` has it; of a hash nothing is asked.
        cache: What it knows of the server saves the second request.

    Raises:
        DeploycoreError: As ``export`` does.
    """
    from deploycore.git.wire.request import Wanted
    from deploycore.git.wire.resolving import ask

    wanted = Wanted(ref)
    wanted.refuse_malformed()
    operation = Operation(settings or GitSettings(), no_progress, cancellation or Cancellation())
    capabilities = cache.repository(source.url).capabilities if cache else frozenset()
    return ask(source, wanted, operation, capabilities).commit


def refuse_malformed_patterns(patterns: Sequence[str]) -> None:
    """Refuse patterns that ``Watched`` cannot use.

    Raises:
        ConfigurationError: A pattern is malformed.
    """
    if patterns:
        from deploycore.git.repositories.comparison import PathPatterns

        PathPatterns(patterns)


def clone(
    source: CloneUrl,
    ref: str | None,
    target: Path,
    *,
    submodules: bool = False,
    escaping_links: EscapingLinks = "write-as-links",
    name: str = "",
    progress: ProgressListener = no_progress,
    cancellation: Cancellation | None = None,
    settings: GitSettings | None = None,
) -> CheckedOut:
    """Make a shallow git repository of one branch, tag or commit at ``target``, with its files.

    Stock git works in it; its remote ``origin`` is the clean URL, without credentials. The
    files of submodules are there as plain files, without a ``.git`` of their own.

    Args:
        ref: As ``export`` has it; ``None`` for the branch that the server's HEAD names.
        target: Must not exist, or be an empty directory.
        submodules: Whether to fetch them too; otherwise their places stay empty directories.
        escaping_links: As ``export`` has it; by default they are written, as git does.
        name: As ``export`` has it.

    Raises:
        DeploycoreError: As ``export`` does.
    """
    from deploycore.git.checkout.links import LinkRules
    from deploycore.git.run import Options, run
    from deploycore.git.wire.request import Wanted

    operation = Operation(
        settings or GitSettings(), progress, cancellation or Cancellation(), home=source.url
    )
    options = Options(
        submodules=submodules, repository=True, links=LinkRules(escaping_links), name=name
    )
    return letting_listeners_fail(lambda: run(source, Wanted(ref), target, operation, options))
