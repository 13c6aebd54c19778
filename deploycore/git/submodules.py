"""The submodules of a repository, and the URLs that they are fetched from.

Everyone who can push can change ``.gitmodules``, so it may contain any URL. Only https is accepted,
and plain http or SSH where the outermost repository has it. ``SubmoduleDestinations`` checks
addresses when they are used, and the credential is sent only to its own origin. Other URLs on the
host of the repository above, such as those for SSH where that is fetched by https, are replaced by
URLs of its kind, which lead to the same repositories.

Source: https://git-scm.com/docs/gitmodules, https://git-scm.com/docs/git-submodule ("add":
relative URLs) and https://git-scm.com/docs/git-clone#_git_urls
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from typing import NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from deploycore.errors import DeploycoreError, GitError, UnsafeRepository
from deploycore.git.granted import FindSource, no_source
from deploycore.git.wire.address import is_address
from deploycore.git.wire.destination import SubmoduleDestinations
from deploycore.git.wording import clean, quoted, shown
from deploycore.http.origin import Origin, path_of
from deploycore.models import CloneUrl
from deploycore.ssh.server import is_ssh

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dulwich.config import ConfigFile

__all__ = ["Submodule", "base_path", "find_submodules"]

_FILE = b".gitmodules"
_CORRECT = "Correct the file in the repository, or deploy with submodules: false."
_WRITE_ANOTHER = (
    "Give it an https or a relative URL in .gitmodules, or deploy with submodules: false."
)
_NAME_ONE = (
    "Name a provider for that host in the application's credentials, or give the submodule an"
    " https or a relative URL in .gitmodules."
)
_SECTION = b"submodule"
# Values of submodule.<name>.update. With all of _UPDATES, a fresh clone checks the commit out.
_NEVER = b"none"
_UPDATES = (b"", b"checkout", b"merge", b"rebase")
# Prefixes of host names that hosts offer for SSH over the https port.
_SSH_HOSTS = ("", "ssh.", "altssh.")
_SSH_SCHEMES = ("ssh", "git+ssh", "ssh+git")
_SCP = r"(?:[^@:/\s]+@)?(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?!//)/?(?P<path>[^/-].*)"
_PATH_CHARACTERS = "/~!$&'()*+,;=:@%"


class Submodule(NamedTuple):
    """A repository within another.

    Attributes:
        path: Its path, relative to the outermost repository.
        commit: The full hash of the commit to check out.
        source: Its URL; with the credential of the repository above only if that has the same
            origin, else with one that was granted for its own origin, if any.
        depth: 1 for submodules of the outermost repository.
    """

    path: bytes
    commit: str
    source: CloneUrl
    depth: int


class _Entry(NamedTuple):
    """An entry of ``.gitmodules`` for one path."""

    url: str | None
    update: bytes


def _ignore(text: str) -> None:
    """Ignore a note."""


def find_submodules(
    links: Mapping[bytes, bytes],
    read: Callable[[bytes], bytes | None],
    source: CloneUrl,
    allowed: SubmoduleDestinations,
    *,
    prefix: bytes,
    depth: int,
    base: str = "",
    find: FindSource = no_source,
    note: Callable[[str], None] = _ignore,
) -> list[Submodule]:
    """Find the submodules of one repository, but not those within them.

    As in git, submodules that ``.gitmodules`` does not list, or that have ``update = none``, are
    left out: their directories stay empty.

    Args:
        links: The commits of the submodules, by path.
        read: Reads a file of the repository; returns ``None`` if there is no such file.
        source: The URL of the repository, to which relative URLs are relative.
        allowed: Which addresses submodules of the outermost repository may have.
        prefix: The path of the repository itself, with a slash at the end, or empty.
        depth: The depth of the submodules that are found.
        base: The path before ``owner/slug`` in the host's clone URLs, with a slash at the end.
        find: Finds the source of a submodule at another origin that has a credential of its own.
        note: Called with a line for each submodule that is left out, or whose URL is replaced.

    Raises:
        UnsafeRepository: A URL must not be used.
        GitError: ``.gitmodules`` is malformed, or has no URL for a submodule.
    """
    if not links:
        return []
    entries = _entries(read(_FILE) or b"")
    found = []
    for path, commit in links.items():
        place = prefix + path
        entry = entries.get(path)
        if entry is None:
            note(f"submodule {quoted(place)} is left out: .gitmodules does not mention it")
        elif entry.update == _NEVER:
            note(f"submodule {quoted(place)} is left out: it has update = none in .gitmodules")
        else:
            where = _source_of(entry, source, path, allowed, base, find)
            if where.written != where.source.url:
                note(
                    f"submodule {quoted(place)} is fetched from {where.source.url}"
                    f" instead of {clean(where.written)}"
                )
            found.append(Submodule(place, commit.hex(), where.source, depth))
    return found


def _entries(content: bytes) -> dict[bytes, _Entry]:
    """Read the entries of ``.gitmodules``, by path.

    Names of sections and keys are case-insensitive, names of submodules are not. If an entry is
    repeated, the last one counts (git-config, "Syntax").
    """
    from dulwich.config import ConfigFile  # few repositories have submodules

    reason = ""
    try:
        # An include would read any file of this machine that the repository names.
        config = ConfigFile.from_file(BytesIO(content), expand_includes=False)
        return dict(_read(config))
    except Exception as error:
        reason = clean(str(error))
    raise GitError(f".gitmodules cannot be read: {reason}.", hint=_CORRECT)


def _read(config: ConfigFile) -> Iterator[tuple[bytes, _Entry]]:
    for section in config.sections():
        values = {key.lower(): value for key, value in config.items(section)}
        if len(section) == 2 and section[0].lower() == _SECTION and b"path" in values:
            url = values.get(b"url")
            yield (
                values[b"path"],
                _Entry(None if url is None else url.decode(), values.get(b"update", b"")),
            )


class _Where(NamedTuple):
    """The URL that a submodule is fetched from, and the one that ``.gitmodules`` has."""

    source: CloneUrl
    written: str


def _source_of(
    entry: _Entry,
    parent: CloneUrl,
    path: bytes,
    allowed: SubmoduleDestinations,
    base: str,
    find: FindSource,
) -> _Where:
    if entry.update not in _UPDATES:
        raise GitError(
            f"The submodule {quoted(path)} has update = {clean(entry.update)!r} in .gitmodules,"
            " which is not allowed there.",
            hint="Remove the line, or replace its value with checkout or none.",
            path=shown(path),
        )
    if not entry.url:
        raise GitError(
            f"The submodule {quoted(path)} of {parent.url} has no URL in .gitmodules.",
            hint="Add its URL there, or deploy with submodules: false.",
            path=shown(path),
        )
    rewritten = _at_home(entry.url, parent, base, allowed)
    if not rewritten and (granted := _granted(entry.url, parent, path, allowed, find)):
        return granted
    source = _resolved(rewritten or entry.url, parent, path, allowed)
    return _Where(source, entry.url if rewritten else source.url)


def _granted(
    url: str, parent: CloneUrl, path: bytes, allowed: SubmoduleDestinations, find: FindSource
) -> _Where | None:
    """The source of a submodule at another origin, for which there is a credential of its own."""
    plain = _absolute(url)
    if not plain or (parent.credential and Origin.of(plain) == Origin.of(parent.url)):
        return None
    try:
        found = find(plain)
    except DeploycoreError as error:
        error.add_context(submodule=shown(path))
        raise
    if found is None:
        return None
    source, origin = found.source, Origin.of(found.source.url)
    allowed.admit(origin)
    if not allowed.takes_scheme_of(origin):
        raise _unusable(path, "is not https")
    is_as_written = source.url.removesuffix(".git") == plain.rstrip("/").removesuffix(".git")
    return _Where(source, source.url if is_as_written else url)


def _absolute(url: str) -> str:
    """The URL of a repository without user information, ``git@host:path`` as an ssh URL.

    Empty for a relative URL, and for one of another scheme or form.
    """
    scp = None if "//" in url else re.fullmatch(_SCP, url)
    if scp:
        url = f"ssh://{scp['host']}/{quote(scp['path'], safe=_PATH_CHARACTERS)}"
    try:
        parts = urlsplit(url)
        scheme = "ssh" if parts.scheme in _SSH_SCHEMES else parts.scheme
        plain = CloneUrl(url=_without_user(parts._replace(scheme=scheme))).url
        is_usable = is_address(plain) and bool(Origin.of(plain).host)
    except ValueError:
        return ""
    return plain if is_usable and scheme in ("https", "http", "ssh") else ""


def _resolved(url: str, parent: CloneUrl, path: bytes, allowed: SubmoduleDestinations) -> CloneUrl:
    if url.startswith(("./", "../")):
        url = _joined(urlsplit(parent.url), url, path)
    is_like_parent = is_ssh(url) and is_ssh(parent.url)
    try:
        source = CloneUrl(url=url if is_like_parent else _without_user(urlsplit(url)))
    except ValueError:
        source = None
    if source is None or not is_address(url):
        raise _unusable(path, "is not an http or https URL")
    origin = Origin.of(source.url)
    if is_ssh(url) and (not is_like_parent or origin != Origin.of(parent.url)):
        raise _unusable(path, "is for SSH on another host, for which there is no key", _NAME_ONE)
    if not allowed.takes_scheme_of(origin):
        raise _unusable(path, "is not https")
    same = origin == Origin.of(parent.url)
    return CloneUrl(url=source.url, credential=parent.credential if same else None)


def _at_home(url: str, parent: CloneUrl, base: str, allowed: SubmoduleDestinations) -> str | None:
    """The URL of the same repository at the parent's origin, if both have the same host.

    ``None`` if the host differs, or the URL can be used as it is. Ports are not compared, since
    other protocols have other ports.
    """
    host, path, is_for_ssh = _split(url, allowed)
    above = urlsplit(parent.url)
    home = above.hostname or ""
    if is_ssh(parent.url):
        home = home.removeprefix("ssh.").removeprefix("altssh.")
    own = [name + home for name in (_SSH_HOSTS if is_for_ssh else ("",))]
    if not path or host.lower() not in own:
        return None
    if is_for_ssh and not is_ssh(parent.url):
        path = base + path
    return urlunsplit(above._replace(path="/" + path, query="", fragment=""))


def _split(url: str, allowed: SubmoduleDestinations) -> tuple[str, str, bool]:
    """The host and the path of a URL that cannot be used as it is, and whether it is for SSH."""
    found = re.fullmatch(_SCP, url)
    if found and "//" not in url:
        return found["host"], quote(found["path"], safe=_PATH_CHARACTERS), True
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "", "", False
    is_usual = parts.scheme == "http" and port in (None, 80) and not parts.query
    is_refused = is_usual and not allowed.takes_scheme_of(Origin.of(url))
    is_for_ssh = parts.scheme in _SSH_SCHEMES
    if is_for_ssh or parts.scheme == "git" or is_refused:
        return host, quote(parts.path.lstrip("/"), safe=_PATH_CHARACTERS), is_for_ssh
    return "", "", False


def _joined(above: SplitResult, relative: str, path: bytes) -> str:
    """Resolve a relative URL as git does: each ``..`` removes one element of the URL above."""
    if "?" in relative or "#" in relative:
        raise _unusable(path, "has a query or a fragment")
    place = above.path.rstrip("/").split("/")
    for step in relative.split("/"):
        if step == "..":
            place.pop()
            if not place:
                raise _unusable(path, "points above the root of its host")
        elif step not in ("", "."):
            place.append(step)
    return urlunsplit(above._replace(path="/".join(place)))


def _without_user(parts: SplitResult) -> str:
    """Remove the user name that hosts put into the URLs that they show."""
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _unusable(path: bytes, why: str, hint: str = _WRITE_ANOTHER) -> UnsafeRepository:
    return UnsafeRepository(
        f"The address of the submodule {quoted(path)} cannot be used: it {why}.",
        hint=hint,
        path=shown(path),
    )


def base_path(url: str, name: str) -> str:
    """The path that comes before ``owner/slug`` in the clone URLs of a host, such as ``scm/``.

    Empty if the repository's name is not known, or the host serves git at its root.
    """
    path = unquote(path_of(url)).strip("/").removesuffix(".git")
    if not name or not path.endswith(f"/{name}"):
        return ""
    return quote(path.removesuffix(name))
