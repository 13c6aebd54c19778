"""Git's public operations: export the files of a commit, clone a branch, resolve a ref.

The modules that do the work are imported on first use: dulwich takes a tenth of a second to load,
which commands that fetch nothing should not spend.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from deploycore.git.credentials import RenewCredential
from deploycore.git.granted import FindSource, no_source
from deploycore.git.operation import Operation, raise_listener_errors
from deploycore.git.progress import Cancellation, CheckedOut, ProgressListener, no_progress
from deploycore.git.settings import EscapingLinks, GitSettings, Reuse
from deploycore.models import CloneUrl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deploycore.git.repositories.cache import RepositoryCache
    from deploycore.git.watched import Watched
    from deploycore.git.wire.listing import ListedRefs

__all__ = ["clone", "export", "list_refs", "refuse_malformed_patterns", "resolve"]


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
    renew: RenewCredential | None = None,
    find_source: FindSource = no_source,
) -> CheckedOut:
    """Write the files of a commit to ``target``, without a ``.git`` directory.

    The target appears in one step, when all files are complete and flushed to the disk.

    Args:
        ref: A branch, a tag, the full name of a ref, or the full hash of a commit.
        target: A path that does not exist, or an empty directory.
        commit: Full hash of the commit to export, even if the ref has moved. The caller must have
            seen it on the host with this credential, because a commit in the cache is exported
            without asking the host.
        submodules: Whether to fetch submodules. If not, they become empty directories.
        attributes: Whether to apply ``export-ignore``, ``text`` and ``eol`` of
            ``.gitattributes``, as ``git archive`` does on Linux. Filters and other drivers are
            never run. Files are then written after the whole pack has arrived.
        lfs: Whether to download the files that are kept in Git LFS according to
            ``.gitattributes``. If not, their pointers are written. The repository's
            ``.lfsconfig`` is not read.
        cache: Keeps what is fetched, so that the next export fetches only what is new.
        former: The target of an earlier export of the same repository with the same cache. Files
            that are the same in both commits, and were not modified since, are reused.
        reuse: How files are reused. ``copy`` shares blocks if the file system supports that.
            ``hard-link`` is faster, but makes both paths the same file, so use it only for
            releases that nothing writes to.
        escaping_links: How to handle symbolic links that lead, or could be made to lead, out of
            the release. ``refuse`` fails the export. ``write-as-files`` writes files that hold
            the target's path, so that a web server cannot serve anything outside the release.
            ``write-as-links`` writes the links, as git does.
        allowed_links: Paths of such links that are written as links in any case. A path that ends
            in a slash allows all links in that directory.
        name: The repository's name on its host, ``owner/slug``. It is used to find submodules
            whose URL is for SSH.
        watched: Paths of which at least one must have changed. They are compared after the fetch
            and before anything is written.
        renew: Returns another credential when the server rejects the source's, or when that
            expires. Submodules and Git LFS use the new one too.
        find_source: Finds the source of a submodule at another origin that has a credential of
            its own. Without one, such a submodule is fetched without a credential.

    Raises:
        NothingWatchedChanged: No path in ``watched`` has changed.
        ConfigurationError: The target, the URL or the ref's name is invalid.
        RemoteRefused: The server refused the credential, or does not have the repository, ref or
            commit. ``details["status"]`` is the HTTP status, if there was one.
        UnsafeRepository: The repository contains something that must not be written.
        LimitExceeded: A limit of the settings was exceeded.
        CorruptPack: The server sent damaged data.
        Cancelled: The operation was cancelled.
        GitError: The network or the file system failed in another way.
    """
    operation = Operation(
        settings or GitSettings(),
        progress,
        cancellation or Cancellation(),
        home=source.url,
        renew=renew,
    )
    if cache is None or commit is None or commit not in cache.repository(source.url).commits:
        _begin_early(source, operation)
    from deploycore.git.checkout.applied import AppliedAttributes
    from deploycore.git.checkout.links import LinkRules
    from deploycore.git.run import Options, run
    from deploycore.git.wire.request import Wanted

    options = Options(
        submodules=submodules,
        applied=AppliedAttributes(archive=attributes, lfs=lfs),
        cache=cache,
        former=former,
        reuse=reuse,
        links=LinkRules(escaping_links, frozenset(map(os.fsencode, allowed_links))),
        name=name,
        watched=watched,
        find_source=find_source,
    )
    wanted = Wanted(ref, commit, is_seen=commit is not None)
    return raise_listener_errors(lambda: run(source, wanted, target, operation, options))


def resolve(
    source: CloneUrl,
    ref: str | None,
    *,
    cache: RepositoryCache | None = None,
    cancellation: Cancellation | None = None,
    settings: GitSettings | None = None,
    renew: RenewCredential | None = None,
) -> str:
    """Return the full hash of the commit that a branch or a tag points to.

    Args:
        ref: As in ``export``; ``None`` for the server's default branch. If it is a hash, no
            request is made.
        cache: If it knows the server's capabilities, one request is enough; else it takes two.
        renew: As in ``export``.

    Raises:
        DeploycoreError: As in ``export``.
    """
    from deploycore.git.wire.request import Wanted
    from deploycore.git.wire.resolving import ask

    wanted = Wanted(ref)
    wanted.refuse_malformed()
    operation = Operation(
        settings or GitSettings(), no_progress, cancellation or Cancellation(), renew=renew
    )
    capabilities = cache.repository(source.url).capabilities if cache else frozenset()
    return ask(source, wanted, operation, capabilities).commit


def list_refs(
    source: CloneUrl,
    prefixes: Sequence[str],
    *,
    cancellation: Cancellation | None = None,
    settings: GitSettings | None = None,
    renew: RenewCredential | None = None,
) -> ListedRefs:
    """List the refs of a repository, as ``git ls-remote`` does.

    Args:
        prefixes: What the full names begin with, such as ``refs/heads/``. With ``HEAD``, the result
            also has the default branch.
        renew: As in ``export``.

    Raises:
        DeploycoreError: As in ``export``.
    """
    from deploycore.git.wire.listing import list_refs as ask_for_refs

    operation = Operation(
        settings or GitSettings(), no_progress, cancellation or Cancellation(), renew=renew
    )
    return ask_for_refs(source, prefixes, operation)


def refuse_malformed_patterns(patterns: Sequence[str]) -> None:
    """Refuse patterns that ``Watched`` cannot use, or that no path can match.

    Raises:
        ConfigurationError: A pattern is malformed or can match nothing, or all of them exclude.
    """
    if patterns:
        from deploycore.git.repositories.comparison import PathPatterns, refuse_matching_nothing

        PathPatterns(patterns)
        refuse_matching_nothing(patterns)


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
    renew: RenewCredential | None = None,
) -> CheckedOut:
    """Clone one branch, tag or commit to ``target``, as a shallow git repository with its files.

    Git works in it as in any clone. Its remote ``origin`` is the URL without credentials. Files of
    submodules are plain files, without a ``.git`` of their own.

    Args:
        ref: As in ``export``; ``None`` for the server's default branch.
        target: A path that does not exist, or an empty directory.
        submodules: Whether to fetch submodules. If not, they become empty directories.
        escaping_links: As in ``export``. By default, links are written, as git does.
        name: As in ``export``.

    Raises:
        DeploycoreError: As in ``export``.
    """
    operation = Operation(
        settings or GitSettings(),
        progress,
        cancellation or Cancellation(),
        home=source.url,
        renew=renew,
    )
    _begin_early(source, operation)
    from deploycore.git.checkout.links import LinkRules
    from deploycore.git.run import Options, run
    from deploycore.git.wire.request import Wanted

    options = Options(
        submodules=submodules, repository=True, links=LinkRules(escaping_links), name=name
    )
    return raise_listener_errors(lambda: run(source, Wanted(ref), target, operation, options))


def _begin_early(source: CloneUrl, operation: Operation) -> None:
    """Sign in to an SSH server while the modules of the fetch are imported."""
    if "deploycore.ssh.process" in sys.modules:  # if not, no process is prepared
        from deploycore.git.wire.ssh_job import begin_early

        begin_early(source, operation)
