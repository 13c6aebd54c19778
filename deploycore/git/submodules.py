"""Which repositories a tree has as submodules, and where they are fetched from.

``.gitmodules`` comes from whoever can push: it may name any address. So only https is taken, and
plain http where the outermost repository has it; addresses are checked when they are asked (see
``SubmoduleDestinations``); and the credential goes along to its own origin only.

Source: https://git-scm.com/docs/gitmodules and https://git-scm.com/docs/git-submodule
("add": relative URLs)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from urllib.parse import SplitResult, urlsplit, urlunsplit

from dulwich.config import ConfigFile, parse_submodules

from deploycore.errors import GitError, UnsafeRepository
from deploycore.git.address import is_address
from deploycore.git.destination import SubmoduleDestinations
from deploycore.git.tree import shown
from deploycore.git.wording import clean
from deploycore.http.origin import Origin
from deploycore.models import CloneUrl

__all__ = ["Submodule", "find_submodules"]

_FILE = b".gitmodules"


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


def find_submodules(
    links: Mapping[bytes, bytes],
    read: Callable[[bytes], bytes | None],
    source: CloneUrl,
    allowed: SubmoduleDestinations,
    *,
    prefix: bytes,
    depth: int,
) -> list[Submodule]:
    """The submodules of one repository, those within them left out.

    Args:
        links: The commits of the submodules, by path.
        read: Reads a file of the repository; ``None`` if it has no such file.
        source: Where that repository came from; relative URLs are relative to it.
        allowed: Where the submodules of the outermost repository may be.
        prefix: Where that repository itself belongs, with a slash at the end, or empty.
        depth: Of the submodules found.

    Raises:
        UnsafeRepository: A URL must not be used.
        GitError: ``.gitmodules`` is missing, malformed, or lacks a submodule.
    """
    if not links:
        return []
    urls = _urls(read(_FILE) or b"")
    found = []
    for path, commit in links.items():
        if path not in urls:
            raise GitError(
                f"The submodule {shown(path)!r} of {source.url} is not in .gitmodules.",
                hint="Add it there with its URL, or deploy without submodules.",
                path=shown(path),
            )
        place = _resolved(urls[path], source, path, allowed)
        found.append(Submodule(prefix + path, commit.hex(), place, depth))
    return found


def _urls(content: bytes) -> dict[bytes, str]:
    """Paths to URLs, as ``.gitmodules`` at the checked-out commit has them."""
    reason = ""
    try:
        # Includes would read whatever files of this machine the repository names.
        config = ConfigFile.from_file(BytesIO(content), expand_includes=False)
        return {path: url.decode() for path, url, _ in parse_submodules(config)}
    except Exception as error:
        reason = clean(str(error))
    raise GitError(f".gitmodules can't be read: {reason}.", hint="Correct it in the repository.")


def _resolved(url: str, parent: CloneUrl, path: bytes, allowed: SubmoduleDestinations) -> CloneUrl:
    if url.startswith(("./", "../")):
        url = _joined(urlsplit(parent.url), url, path)
    try:
        source = CloneUrl(url=_without_user(urlsplit(url)))
    except ValueError:
        source = None
    if source is None or not is_address(url):
        raise _unusable(path, "is no http or https URL")
    origin = Origin.of(source.url)
    if not allowed.takes_scheme_of(origin):
        raise _unusable(path, "is not https")
    same = origin == Origin.of(parent.url)
    return CloneUrl(url=source.url, credential=parent.credential if same else None)


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
        f"The address of the submodule {shown(path)!r} can't be used: it {why}.",
        hint="Give it an https or a relative URL in .gitmodules, or deploy without submodules.",
        path=shown(path),
    )
