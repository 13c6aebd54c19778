"""Which repositories a tree has as submodules, and where they are fetched from.

``.gitmodules`` comes from whoever can push: it may name any address. So only https is taken, and
plain http where the outermost repository has it; addresses are checked when they are asked (see
``SubmoduleDestinations``); and the credential goes along to its own origin only. Other addresses
of the host that the repository above came from, such as those for SSH, are taken for its https
ones, since the same repositories are there.

Source: https://git-scm.com/docs/gitmodules, https://git-scm.com/docs/git-submodule ("add":
relative URLs) and https://git-scm.com/docs/git-clone#_git_urls
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

from dulwich.config import ConfigFile

from deploycore.errors import GitError, UnsafeRepository
from deploycore.git.wire.address import is_address
from deploycore.git.wire.destination import SubmoduleDestinations
from deploycore.git.wording import clean, quoted, shown
from deploycore.http.origin import Origin
from deploycore.models import CloneUrl

__all__ = ["Submodule", "find_submodules"]

_FILE = b".gitmodules"
_SECTION = b"submodule"
# What a fresh clone does with each: with the last three it checks the commit out.
_NEVER = b"none"
_UPDATES = (b"", b"checkout", b"merge", b"rebase")
# Further names under which hosts offer SSH where its own port is blocked.
_SSH_HOSTS = ("", "ssh.", "altssh.")
_SSH_SCHEMES = ("ssh", "git+ssh", "ssh+git")
_SCP = re.compile(r"(?:[^@:/\s]+@)?(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?!//)/?(?P<path>[^/-].*)")
_PATH_CHARACTERS = "/~!$&'()*+,;=:@%"


@dataclass(frozen=True)
class Submodule:
    """A repository within another.

    Attributes:
        path: Where it belongs, relative to the outermost repository.
        commit: Exactly which one.
        source: With the credential only if it is of the same origin as the repository above.
        depth: 1 for those of the outermost repository.
    """

    path: bytes
    commit: str
    source: CloneUrl
    depth: int


@dataclass(frozen=True)
class _Entry:
    """What ``.gitmodules`` says of one path."""

    url: str | None
    update: bytes


def _ignore(text: str) -> None:
    """Tell nobody."""


def find_submodules(
    links: Mapping[bytes, bytes],
    read: Callable[[bytes], bytes | None],
    source: CloneUrl,
    allowed: SubmoduleDestinations,
    *,
    prefix: bytes,
    depth: int,
    base: str = "",
    note: Callable[[str], None] = _ignore,
) -> list[Submodule]:
    """The submodules of one repository, those within them left out.

    As git does it, places that ``.gitmodules`` does not mention, and those with
    ``update = none``, stay empty directories.

    Args:
        links: The commits of the submodules, by path.
        read: Reads a file of the repository; ``None`` if it has no such file.
        source: Where that repository came from; relative URLs are relative to it.
        allowed: Where the submodules of the outermost repository may be.
        prefix: Where that repository itself belongs, with a slash at the end, or empty.
        depth: Of the submodules found.
        base: What paths of repositories on that host begin with, with a slash at the end.
        note: Told of what is left out, and of addresses that are not used as they are written.

    Raises:
        UnsafeRepository: A URL must not be used.
        GitError: ``.gitmodules`` is malformed, or lacks a URL.
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
            where = _source_of(entry, source, path, allowed, base)
            if where.written != where.source.url:
                note(
                    f"submodule {quoted(place)} is fetched from {where.source.url}"
                    f" instead of {clean(where.written)}"
                )
            found.append(Submodule(place, commit.hex(), where.source, depth))
    return found


def _entries(content: bytes) -> dict[bytes, _Entry]:
    """What ``.gitmodules`` at the checked-out commit says, by path.

    Names of sections and keys are the same in upper and lower case, names of submodules are
    not; of what is there several times, the last counts (git-config, "Syntax").
    """
    reason = ""
    try:
        # Includes would read whatever files of this machine the repository names.
        config = ConfigFile.from_file(BytesIO(content), expand_includes=False)
        return dict(_read(config))
    except Exception as error:
        reason = clean(str(error))
    raise GitError(f".gitmodules cannot be read: {reason}.", hint="Correct it in the repository.")


def _read(config: ConfigFile) -> Iterator[tuple[bytes, _Entry]]:
    for section in config.sections():
        values = {key.lower(): value for key, value in config.items(section)}
        if len(section) == 2 and section[0].lower() == _SECTION and b"path" in values:
            url = values.get(b"url")
            yield (
                values[b"path"],
                _Entry(None if url is None else url.decode(), values.get(b"update", b"")),
            )


@dataclass(frozen=True)
class _Where:
    """Where a submodule is fetched from, and the URL that says so, if it is another one."""

    source: CloneUrl
    written: str


def _source_of(
    entry: _Entry, parent: CloneUrl, path: bytes, allowed: SubmoduleDestinations, base: str
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
            hint="Add its URL there, or deploy without submodules.",
            path=shown(path),
        )
    rewritten = _at_home(entry.url, parent, base, allowed)
    source = _resolved(rewritten or entry.url, parent, path, allowed)
    return _Where(source, entry.url if rewritten else source.url)


def _resolved(url: str, parent: CloneUrl, path: bytes, allowed: SubmoduleDestinations) -> CloneUrl:
    if url.startswith(("./", "../")):
        url = _joined(urlsplit(parent.url), url, path)
    try:
        source = CloneUrl(url=_without_user(urlsplit(url)))
    except ValueError:
        source = None
    if source is None or not is_address(url):
        raise _unusable(path, "is not an http or https URL")
    origin = Origin.of(source.url)
    if not allowed.takes_scheme_of(origin):
        raise _unusable(path, "is not https")
    same = origin == Origin.of(parent.url)
    return CloneUrl(url=source.url, credential=parent.credential if same else None)


def _at_home(url: str, parent: CloneUrl, base: str, allowed: SubmoduleDestinations) -> str | None:
    """The address of the same repository at the parent's origin, if a URL has the parent's host.

    ``None`` if it has another one, or can be used as it is. Ports are not compared: those of
    other protocols differ.
    """
    host, path, is_ssh = _split(url, allowed)
    above = urlsplit(parent.url)
    own = [name + (above.hostname or "") for name in (_SSH_HOSTS if is_ssh else ("",))]
    if not path or host.lower() not in own:
        return None
    if is_ssh:
        path = base + path
    return urlunsplit(above._replace(path="/" + path, query="", fragment=""))


def _split(url: str, allowed: SubmoduleDestinations) -> tuple[str, str, bool]:
    """Host, path and whether it is one for SSH, of a URL that can't be used as it is."""
    found = _SCP.fullmatch(url)
    if found and "//" not in url:
        return found["host"], quote(found["path"], safe=_PATH_CHARACTERS), True
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "", "", False
    is_usual = parts.scheme == "http" and port in (None, 80) and not parts.query
    is_refused = is_usual and not allowed.takes_scheme_of(Origin.of(url))
    is_ssh = parts.scheme in _SSH_SCHEMES
    if is_ssh or parts.scheme == "git" or is_refused:
        return host, quote(parts.path.lstrip("/"), safe=_PATH_CHARACTERS), is_ssh
    return "", "", False


def _joined(above: SplitResult, relative: str, path: bytes) -> str:
    """Git's own rule: ``..`` takes one element off the URL above, whatever that is."""
    if "?" in relative or "#" in relative:
        raise _unusable(path, "has a query or a fragment")
    place = above.path.rstrip("/").split("/")
    for step in relative.split("/"):
        if step == "..":
            place.pop()
            if not place:
                raise _unusable(path, "leads above the host")
        elif step not in ("", "."):
            place.append(step)
    return urlunsplit(above._replace(path="/".join(place)))


def _without_user(parts: SplitResult) -> str:
    """Drop the user name that hosts put into the addresses that they show."""
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _unusable(path: bytes, why: str) -> UnsafeRepository:
    return UnsafeRepository(
        f"The address of the submodule {quoted(path)} cannot be used: it {why}.",
        hint="Give it an https or a relative URL in .gitmodules, or deploy without submodules.",
        path=shown(path),
    )
