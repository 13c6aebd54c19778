"""The two things that git is wanted for: a branch's files, and a working clone of a branch.

What does the work is imported when there is some: dulwich takes a tenth of a second to load,
which commands that fetch nothing should not pay for.
"""

from __future__ import annotations

from pathlib import Path

from deploycore.git.operation import Operation
from deploycore.git.progress import Cancellation, CheckedOut, ProgressListener, no_progress
from deploycore.git.settings import GitSettings
from deploycore.models import CloneUrl

__all__ = ["clone", "export"]


def export(
    source: CloneUrl,
    branch: str,
    target: Path,
    *,
    commit: str | None = None,
    submodules: bool = False,
    progress: ProgressListener = no_progress,
    cancellation: Cancellation | None = None,
    settings: GitSettings | None = None,
) -> CheckedOut:
    """Put the files of a branch's newest commit at ``target``, without any ``.git``.

    All of them, flushed to the disk, or nothing: the target appears in one step.

    Args:
        target: Must not exist, or be an empty directory.
        commit: Exactly this commit of the branch, full hash, even if the branch has moved.
        submodules: Whether to fetch them too; otherwise their places stay empty directories.

    Raises:
        ConfigurationError: The target, the URL or the branch's name can't be used.
        RemoteRefused: Credentials, repository, branch or commit are refused or unknown;
            ``details["status"]`` is the HTTP status where there was one.
        UnsafeRepository: The repository holds what must not be written.
        LimitExceeded: A limit of the settings was reached.
        CorruptPack: What the server sent is damaged.
        Cancelled: The operation was asked to stop.
        GitError: Any other failure of the network or the file system.
    """
    from deploycore.git.run import run

    operation = Operation(settings or GitSettings(), progress, cancellation or Cancellation())
    return run(source, branch, target, operation, commit=commit, submodules=submodules)


def clone(
    source: CloneUrl,
    branch: str | None,
    target: Path,
    *,
    submodules: bool = False,
    progress: ProgressListener = no_progress,
    cancellation: Cancellation | None = None,
    settings: GitSettings | None = None,
) -> CheckedOut:
    """Make a shallow git repository of one branch at ``target``, with its files.

    Stock git works in it; its remote ``origin`` is the clean URL, without credentials. The
    files of submodules are there as plain files, without a ``.git`` of their own.

    Args:
        branch: ``None`` for the branch that the server's HEAD names.
        target: Must not exist, or be an empty directory.
        submodules: Whether to fetch them too; otherwise their places stay empty directories.

    Raises:
        DeploycoreError: As ``export`` does.
    """
    from deploycore.git.run import run

    operation = Operation(settings or GitSettings(), progress, cancellation or Cancellation())
    return run(source, branch, target, operation, submodules=submodules, repository=True)
