"""One export or clone, from the first question to the server to the finished directory."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

from deploycore.disk.durable import real_path
from deploycore.errors import CorruptPack, DeploycoreError, GitError, LimitExceeded
from deploycore.git.checkout.applied import NO_ATTRIBUTES, AppliedAttributes
from deploycore.git.checkout.checkout import Checkout
from deploycore.git.checkout.files import Files
from deploycore.git.checkout.former import FormerCheckout
from deploycore.git.checkout.links import LINKS_WITHIN, LinkRules
from deploycore.git.checkout.manifest import CLOCK_STEP, Manifest
from deploycore.git.checkout.target import Staging, refuse_unusable, staging_for
from deploycore.git.granted import FindSource, GrantedSource, no_source
from deploycore.git.operation import Operation
from deploycore.git.packs.objects import COMMIT, KINDS, CommitInfo, Damaged, read_commit
from deploycore.git.packs.pack import Objects
from deploycore.git.progress import CheckedOut
from deploycore.git.repository_fetch import RepositoryFetch, peeled, refusing_damage
from deploycore.git.submodules import Submodule, base_path, find_submodules
from deploycore.git.wire.address import refuse_unusable_source
from deploycore.git.wire.destination import SubmoduleDestinations
from deploycore.git.wire.fetch import fetch
from deploycore.git.wire.request import Fetched, Wanted
from deploycore.git.wording import file_failure, limit_hint, quoted, shown
from deploycore.http.origin import Origin
from deploycore.models import CloneUrl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deploycore.git.checkout.changes import Changes
    from deploycore.git.repositories.cache import RepositoryCache
    from deploycore.git.repositories.cached_repository import CachedRepository
    from deploycore.git.watched import Watched

__all__ = ["Options", "run"]

logger = logging.getLogger(__name__)

_MAX_NOTES = 100
_SIZE_LIMITS = ("max_checkout_bytes", "max_held_bytes", "max_object_bytes", "object_bytes", "work")


class Options(NamedTuple):
    """Options of an export or a clone.

    Attributes:
        submodules: Whether to fetch submodules.
        applied: Which attributes are applied.
        repository: Whether to make the target a git repository.
        cache: Keeps what is fetched.
        former: The target of an earlier export, from which files are reused.
        reuse: ``copy`` or ``hard-link``.
        links: How links that lead out of the tree are handled.
        name: The repository's name on its host, ``owner/slug``; empty if it is not known.
        watched: Paths of which at least one must have changed, else nothing is written.
        find_source: Finds the source of a submodule that has a credential of its own.
    """

    submodules: bool = False
    applied: AppliedAttributes = NO_ATTRIBUTES
    repository: bool = False
    cache: RepositoryCache | None = None
    former: Path | None = None
    reuse: str = "copy"
    links: LinkRules = LINKS_WITHIN
    name: str = ""
    watched: Watched | None = None
    find_source: FindSource = no_source


def run(
    source: CloneUrl, wanted: Wanted, target: Path, operation: Operation, options: Options
) -> CheckedOut:
    """Fetch, check, write and publish one commit; arguments and errors as in ``export``."""
    refuse_unusable_source(source, allow_plain_http=operation.settings.allow_plain_http)
    wanted.refuse_malformed()
    with _published(_resolved(target)) as staging:
        done = _Run(source, wanted, staging, operation, options).perform()
    if options.cache is not None:
        _prune(options.cache)
    return done


def _resolved(target: Path) -> Path:
    """The absolute target, with all links above it followed once.

    Such links are the operator's own: ``/tmp`` is one on macOS, ``/var/run`` or ``/home`` on many
    systems.

    Raises:
        GitError: A link is broken.
    """
    target = target.absolute()
    try:
        return real_path(target.parent) / target.name if target.name else target
    except OSError as error:
        raise file_failure(target, error) from error
    except ValueError:
        return target  # refused later, with a message that says what is wrong


def _prune(cache: RepositoryCache) -> None:
    """Prune the cache; the export has succeeded, so a failure is only logged."""
    try:
        cache.prune()
    except (DeploycoreError, OSError) as error:
        logger.warning("the git cache in %s cannot be pruned: %s", cache.directory, error)


@contextmanager
def _published(target: Path) -> Iterator[Staging]:
    """Yield a staging directory, which becomes the target if no exception is raised."""
    refuse_unusable(target)
    try:
        with staging_for(target) as staging:
            yield staging
            staging.publish()
    except OSError as error:
        raise file_failure(target, error) from error


class _Written(NamedTuple):
    """One repository whose files are on disk."""

    fetched: Fetched
    commit: CommitInfo
    submodules: list[Submodule]


class _Run:
    def __init__(
        self,
        source: CloneUrl,
        wanted: Wanted,
        staging: Staging,
        operation: Operation,
        options: Options,
    ) -> None:
        self._source = source
        self._wanted = wanted
        self._staging = staging
        self._operation = operation
        self._options = options
        self._submodules = 0
        self._asked = 0
        self._notes: dict[str, None] = {}
        self._allowed = SubmoduleDestinations(source)

    def perform(self) -> CheckedOut:
        self._operation.enter("connecting")
        top = Submodule(b"", "", self._source, depth=0)
        written = self._add_repository(top, self._wanted)
        self._add_submodules(written.submodules)
        self._operation.finish()
        return self._result(written)

    def _add_submodules(self, found: list[Submodule]) -> None:
        settings = self._operation.settings
        pending = deque(found)
        while pending:
            self._operation.enter("submodules")
            each = pending[0]
            # All known submodules count at once, so that a flood of them causes no requests.
            if self._submodules + len(pending) > settings.max_submodules:
                raise _too_many(settings.max_submodules)
            pending.popleft()
            self._submodules += 1
            if each.depth > settings.max_submodule_depth:
                raise _too_deep(each, settings.max_submodule_depth)
            pending.extend(self._add(each))

    def _add(self, submodule: Submodule) -> list[Submodule]:
        try:
            return self._add_repository(submodule, Wanted(commit=submodule.commit)).submodules
        except DeploycoreError as error:
            error.add_context(submodule=shown(submodule.path))
            raise

    def _add_repository(self, what: Submodule, wanted: Wanted) -> _Written:
        cache, wait = self._options.cache, self._operation.wait
        cached = cache.repository(what.source.url, wait=wait) if cache else None
        counts = self._operation.counts
        if cached is not None:
            try:
                return self._with_cache(what, wanted, cached)
            except _FailedCache as error:
                logger.warning("the git cache in %s cannot be used: %s", cached.path, error)
                self._operation.count_again(counts)
        return self._fetch_and_write(what, wanted, None, trusted=None)

    def _with_cache(self, what: Submodule, wanted: Wanted, cached: CachedRepository) -> _Written:
        counts = self._operation.counts
        try:
            return self._fetch_and_write(what, wanted, cached, trusted=cached)
        except _DamagedCache:
            cached.discard()
        except _LimitInCache:
            self._operation.count_again(counts)
            written = self._fetch_and_write(what, wanted, None, trusted=None)
            cached.discard()  # it is damaged: what the server sends is within the limit
            return written
        self._operation.count_again(counts)
        # What could not be discarded, or what other processes added, is not used again.
        return self._fetch_and_write(what, wanted, cached, trusted=None)

    def _fetch_and_write(
        self,
        what: Submodule,
        wanted: Wanted,
        cached: CachedRepository | None,
        *,
        trusted: CachedRepository | None,
    ) -> _Written:
        url = what.source.url
        with (
            cached.incoming() if cached else nullcontext() as incoming,
            RepositoryFetch(
                url,
                self._staging.target,
                self._root(what),
                incoming or self._staging.directory,
                self._operation,
                staging=self._staging.directory,
                cached=trusted,
                open_files=lambda: self._open_files(what),
                early=self._options.applied == NO_ATTRIBUTES and self._options.watched is None,
            ) as fetching,
        ):
            try:
                fetched = fetch(
                    what.source, wanted, fetching, self._operation, within=self._within(what)
                )
                if fetched.redirected_to:
                    self._note(f"{url} redirects to {fetched.redirected_to}")
                objects = fetching.complete()
                with refusing_damage(url):
                    if what.depth == 0:
                        self._stop_if_unwatched(fetched, fetching, objects, cached)
                    return self._write(what, fetched, fetching, objects, cached)
            except CorruptPack as error:
                if not fetching.uses_cache:
                    raise
                raise _DamagedCache from error
            except LimitExceeded as error:
                if not fetching.uses_cache or error.details.get("limit") not in _SIZE_LIMITS:
                    raise
                raise _LimitInCache from error
            except GitError as error:
                if not fetching.has_cache_failed:
                    raise
                raise _FailedCache(error.__cause__) from error

    def _stop_if_unwatched(
        self,
        fetched: Fetched,
        fetching: RepositoryFetch,
        objects: Objects,
        cached: CachedRepository | None,
    ) -> None:
        """End the export before anything is written, if no watched path has changed.

        Raises:
            NothingWatchedChanged: None has. What was fetched is kept, so that it is not fetched
                again; if something is missing in it, the next export detects that and fetches it
                again.
        """
        watched = self._options.watched
        if watched is None:
            return
        from deploycore.git.repositories.comparison import watched_path_differs
        from deploycore.git.watched import NothingWatchedChanged

        commit = peeled(objects.object_format.unhex(fetched.commit), objects)
        if watched_path_differs(objects, watched, commit, self._operation):
            return
        if cached is not None:
            info = read_commit(objects.read(commit, COMMIT), objects.object_format)
            written = _Written(fetched._replace(commit=commit.hex()), info, [])
            self._add_to(cached, written, fetching)
        raise NothingWatchedChanged

    def _write(
        self,
        what: Submodule,
        fetched: Fetched,
        fetching: RepositoryFetch,
        objects: Objects,
        cached: CachedRepository | None,
    ) -> _Written:
        self._operation.enter("writing")
        commit = peeled(objects.object_format.unhex(fetched.commit), objects)
        kind = objects.kind(commit)
        if kind != COMMIT:
            raise _no_commit(what.source.url, fetched, KINDS[kind].decode())
        early = fetching.streaming if fetching.streaming and fetching.streaming.plan else None
        changes = self._changes(commit, objects)
        # Trees that are named in another object format do not belong to this repository.
        form = objects.object_format.name + (changes.name if changes else "")
        manifest = None if early else self._manifest(what, fetching.cached, form)
        with manifest or nullcontext():
            checkout = Checkout(
                commit,
                objects,
                fetching.files,
                self._operation,
                streaming=early,
                former=FormerCheckout(manifest, objects) if manifest else None,
                ignored=changes.ignored if changes else None,
                change=changes.change if changes else None,
                links=self._options.links._replace(prefix=what.path and what.path + b"/"),
            )
            checkout.write_files(meanwhile=lambda: self._write_pack_index(what, fetching))
            if changes is not None:
                within = self._within(what)
                changes.download(what.source, fetched.ref, fetching.files, within)
            checkout.write_links()
            submodules = self._find_submodules(what, checkout)
            tag = fetched.tag or (fetched.commit if fetched.commit != commit.hex() else "")
            fetched = fetched._replace(commit=commit.hex(), tag=tag)
            written = _Written(fetched, checkout.commit, submodules)
            self._keep(what, written, fetching, checkout, cached, form)
        return written

    def _keep(
        self,
        what: Submodule,
        written: _Written,
        fetching: RepositoryFetch,
        checkout: Checkout,
        cached: CachedRepository | None,
        form: str,
    ) -> None:
        """Keep what git, or the next export, needs."""
        if what.depth == 0 and self._options.repository:
            self._make_repository(written, fetching, checkout)
        elif cached is not None:
            if what.depth == 0:
                cached.keep_manifest(self._staging.target, checkout.describe(), form)
                self._operation.wait(CLOCK_STEP)
            self._add_to(cached, written, fetching)

    def _write_pack_index(self, what: Submodule, fetching: RepositoryFetch) -> None:
        """Write the index of the pack that a clone keeps, beside the pack."""
        if what.depth == 0 and self._options.repository and fetching.received is not None:
            from deploycore.git.repositories.repository import write_pack_index

            write_pack_index(fetching.received)

    def _changes(self, commit: bytes, objects: Objects) -> Changes | None:
        applied = self._options.applied
        if applied == NO_ATTRIBUTES:
            return None
        from deploycore.git.checkout.changes import Changes

        tree = read_commit(objects.read(commit, COMMIT), objects.object_format).tree
        return Changes(tree, objects, self._staging.directory, self._operation, applied)

    def _find_submodules(self, what: Submodule, checkout: Checkout) -> list[Submodule]:
        if not self._options.submodules:
            return []
        prefix = what.path and what.path + b"/"
        base = base_path(self._source.url, self._options.name)
        same_host = Origin.of(what.source.url) == Origin.of(self._source.url)
        return find_submodules(
            checkout.gitlinks(),
            checkout.read,
            what.source,
            self._allowed,
            prefix=prefix,
            depth=what.depth + 1,
            base=base if same_host else "",
            find=self._find_source,
            note=self._note,
        )

    def _find_source(self, url: str) -> GrantedSource | None:
        self._asked += 1
        if self._asked > self._operation.settings.max_submodules:
            raise _too_many(self._operation.settings.max_submodules)
        granted = self._options.find_source(url)
        if granted is not None:
            self._operation.grant(granted)
        return granted

    def _note(self, text: str) -> None:
        if len(self._notes) < _MAX_NOTES:
            self._notes[text] = None  # the same note is kept once
        else:
            self._notes.setdefault("further notes of this kind are left out", None)

    def _within(self, what: Submodule) -> SubmoduleDestinations | None:
        return self._allowed if what.depth else None

    def _make_repository(
        self, written: _Written, fetching: RepositoryFetch, checkout: Checkout
    ) -> None:
        if fetching.received is None:
            raise Damaged("nothing was received")
        from deploycore.git.repositories.repository import make_repository

        make_repository(
            self._staging.tree,
            fetching.received,
            written.fetched,
            self._source.url,
            checkout.plan.entry_count,
            checkout.plan.entries(),
            shallow=written.fetched.shallow and written.commit.has_parents,
        )

    def _add_to(
        self, cached: CachedRepository, written: _Written, fetching: RepositoryFetch
    ) -> None:
        if fetching.received is not None:
            shallow = written.fetched.shallow and written.commit.has_parents
            commit = written.fetched.commit
            cached.add(fetching.received, commit, former=fetching.former, shallow=shallow)
            cached.remember_capabilities(written.fetched.capabilities)

    def _manifest(
        self, what: Submodule, cached: CachedRepository | None, form: str
    ) -> Manifest | None:
        """Open the manifest of the previous checkout, if there is one that can be used."""
        former = self._options.former
        if former is None or cached is None or what.depth:
            return None
        return cached.manifest(former, form)

    def _root(self, what: Submodule) -> Path:
        return Path(os.fsdecode(os.path.join(os.fsencode(self._staging.tree), what.path)))

    def _open_files(self, what: Submodule) -> Files:
        former = self._options.former if what.depth == 0 else None
        return Files(
            os.fsencode(self._root(what)),
            self._operation,
            held=(self._staging.lock,),
            former=os.fsencode(former) if former else None,
            reuse=self._options.reuse,
        )

    def _result(self, written: _Written) -> CheckedOut:
        return CheckedOut(
            commit=written.fetched.commit,
            ref=written.fetched.name,
            files=self._operation.counts.files,
            bytes=self._operation.counts.bytes,
            submodules=self._submodules,
            author=written.commit.author,
            subject=written.commit.subject,
            committed_at=written.commit.committed_at,
            notes=tuple(self._notes),
        )


class _DamagedCache(Exception):
    """The cached repository is damaged."""


class _LimitInCache(Exception):
    """A size in the cached repository exceeds a limit. It may be damaged."""


class _FailedCache(Exception):
    """A disk failed while a pack was written to the cache."""


def _no_commit(url: str, fetched: Fetched, kind: str) -> GitError:
    what = "file" if kind == "blob" else "directory"
    return GitError(
        f"{fetched.name!r} of {url} names a {what} (a git {kind}), not a commit.",
        hint="Name a branch, a commit, or a tag of a commit.",
        url=url,
        ref=fetched.name,
    )


def _too_many(most: int) -> LimitExceeded:
    return LimitExceeded(
        f"The repository has more than {most:,} submodules, those of submodules included.",
        hint=limit_hint("max_submodules"),
        limit="max_submodules",
    )


def _too_deep(submodule: Submodule, most: int) -> LimitExceeded:
    return LimitExceeded(
        f"The submodule {quoted(submodule.path)} is nested in more than {most} submodules.",
        hint=limit_hint("max_submodule_depth"),
        limit="max_submodule_depth",
    )
