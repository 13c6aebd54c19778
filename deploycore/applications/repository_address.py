"""Read the repository that a person names: ``owner/repository``, or an address that was pasted.

Addresses come from browsers, ``git clone`` commands and remotes of clones. They are read here
without knowledge of git hosts: the host must be one that the provider's configuration names.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from deploycore.errors import ConfigurationError
from deploycore.models import RepositoryId

__all__ = ["is_address", "is_on_host_of", "read_repository"]

Addresses = Callable[[], Collection[str]]
ByHost = Callable[[str], RepositoryId | None]

_EXAMPLE = "Write OWNER/REPOSITORY, for example acme/shop."
_BRANCH_APART = " A branch is given apart from it."
# Most people write this. Nothing in it needs any of the other patterns, which take long to compile.
_OWNER_AND_NAME = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*/[A-Za-z0-9_-][A-Za-z0-9_.-]*"
_CLONE = r"^git\s+clone\s+(?:--\S+\s+)*|^(?:gh|glab)\s+repo\s+clone\s+"
_AROUND = "'\"<>`()“”‘’„«»,"  # characters that texts have around an address
_MARKDOWN = r"^\[[^\]]*\]\(([^()\s]+)\)$"
_HTTPS = r"(?i)^(?:git\+)?(https?):/+(?=[^/])"  # pip and npm use the prefix git+
_REF = r"(?<=\.git)@[^@]*$"  # pip and npm use this suffix too
_OTHER_SCHEME = r"^[A-Za-z][A-Za-z0-9+.-]*://"
_URL = r"(?i)^(?P<scheme>https?|ssh|git|git\+ssh|ssh\+git)://(?P<rest>.+)$"
# "[<user>@]<host>:<path>"; https://git-scm.com/docs/git-clone#_git_urls says that no slash comes
# before the colon.
_SCP = r"^(?:[^\s/:@]+@)?(?P<host>\[[^\]/]+\]|[\w.-]+):(?P<path>[^:\s]+)$"
_NAME = r"^(?!\.\.?$)[^\s\x00-\x1f\x7f@:?#\\]+$"
_HOST = r"^(?=.*\.)[A-Za-z0-9.-]+(?::[0-9]+)?$"
# Names that follow a repository in the addresses of a host's pages. "-" is a separator, which
# cannot be the name of a repository. The others are recognized from the third part on.
_PAGE = (
    r"-|src|tree|blob|raw|blame|edit|browse|branch|branches|commit|commits|compare|tag"
    r"|tags|releases|release|pull|pulls|pull-requests|merge_requests|issues|wiki|wikis"
    r"|actions|pipelines|settings|admin|forks|downloads|packages|projects|activity|graphs"
    r"|network|security|pulse|overview|stargazers|watchers|discussions|deployments"
)


class _Pasted(NamedTuple):
    """The parts of an address.

    Attributes:
        host: In lower case, without user and port.
        is_page: Whether it may be the address of a web page.
    """

    host: str
    path: tuple[str, ...]
    is_page: bool

    @property
    def url(self) -> str:
        """The address without user, port, query and fragment."""
        path = "/".join(quote(part, safe="~") for part in self.path)
        return f"{'https' if self.is_page else 'ssh'}://{self.host}/{path}"


def is_address(text: str) -> bool:
    """Whether a text is more than ``owner/repository``, so that the provider is needed to read
    it."""
    if re.fullmatch(_OWNER_AND_NAME, text):
        return text.endswith(".git")
    plain = _plain(text)
    return _pasted(plain) is not None or plain != text or plain.endswith(".git")


def read_repository(text: str, addresses: Addresses, by_host: ByHost | None = None) -> RepositoryId:
    """Return the repository that a text names.

    Args:
        text: ``owner/repository``, also with ``.git`` or slashes at its end; or an address of the
            repository or of one of its pages, for https, ssh or scp.
        addresses: Returns the URLs in the provider's configuration. It is called only if the text
            may name a host.
        by_host: Reads an address if the host's paths are not ``owner/repository``; returns ``None``
            for an address that is read in the usual way. It is called after ``addresses``. If only
            one segment is left below the provider's own address, it is called again with this
            segment alone.

    Raises:
        ConfigurationError: The text names no repository, or one on another host. The message
            contains no user name or password of the text.
    """
    if re.fullmatch(_OWNER_AND_NAME, text):
        owner, _, slug = text.partition("/")
        return RepositoryId(owner=owner, slug=slug.removesuffix(".git"))
    plain = _plain(text)
    pasted = _pasted(plain)
    if pasted is None:
        parts = tuple(plain.strip("/").split("/"))
        if len(parts) < 3 or not re.match(_HOST, parts[0]):
            return _repository(parts)
        known = addresses()
        host = parts[0].rpartition(":")[0] or parts[0]
        if not any(_is_same_site(host.lower(), _host(each)) for each in known):
            return _repository(parts)  # nested groups may have dots in their names
        pasted = _Pasted(host.lower(), parts[1:], is_page=True)
    else:
        known = addresses()
    _refuse_other_host(pasted, known)
    found = by_host(pasted.url) if by_host else None
    if found is not None:
        return _repository((found.owner, found.slug))
    path = _without_prefix(pasted, known)
    if pasted.is_page:
        path = _without_page(path)
    if by_host and len(path) == 1:  # some hosts have repositories without an owner
        found = by_host(pasted._replace(path=path).url)
    return _repository((found.owner, found.slug) if found else path)


def is_on_host_of(host: str, addresses: Collection[str]) -> bool:
    """Whether a host is that of one of these URLs, or one of the two is a subdomain of the
    other."""
    return any(_is_same_site(host.lower(), _host(each)) for each in addresses)


def _plain(text: str) -> str:
    """Return the address in a text that was copied from a page, a terminal or a file."""
    visible = "".join(each for each in text if unicodedata.category(each) != "Cf").strip()
    if found := re.match(_MARKDOWN, visible):
        visible = found[1]
    plain = re.sub(_CLONE, "", visible).strip(_AROUND)
    words = [each.strip(_AROUND) for each in plain.split()]
    # Otherwise the rest may belong to a password that contains a space.
    if len(words) > 1 and (plain != visible or not re.match(_OTHER_SCHEME, plain)):
        addresses = [each for each in words if re.match(_URL, each) or re.match(_SCP, each)]
        others = [each for each in words if each not in addresses]
        if len(addresses) == 1 and not any("@" in each for each in others):
            plain = addresses[0]
    return re.sub(_REF, "", re.sub(_HTTPS, r"\1://", plain))


def _pasted(text: str) -> _Pasted | None:
    if found := re.match(_URL, text):
        try:
            parts = urlsplit(text)
            host = (parts.hostname or "").lower().removesuffix(".")
        except ValueError:
            host = ""
        if not host:
            raise ConfigurationError("The address of the repository is not a URL.", hint=_EXAMPLE)
        return _Pasted(host, _split(parts.path), found["scheme"].lower().startswith("http"))
    if re.match(_OTHER_SCHEME, text):
        scheme = text.partition("://")[0]
        raise ConfigurationError(
            f"The address of the repository begins with {scheme}://, which git does not use.",
            hint=_EXAMPLE,
        )
    if found := re.match(_SCP, text):
        return _Pasted(found["host"].lower().strip("[]"), _split(found["path"]), is_page=False)
    return None


def _split(path: str) -> tuple[str, ...]:
    return tuple(unquote(part).strip(" ") for part in path.split("/") if part)


def _refuse_other_host(pasted: _Pasted, known: Collection[str]) -> None:
    hosts = sorted({_host(each) for each in known})
    if any(_is_same_site(pasted.host, host) for host in hosts):
        return
    raise ConfigurationError(
        f"The address names a repository on {pasted.host}, but the provider is for"
        f" {' and '.join(hosts)}.",
        hint=f"Use a provider for {pasted.host}, or write a repository of this provider as"
        " OWNER/REPOSITORY. To list your providers: deploycore provider list",
        host=pasted.host,
    )


def _host(address: str) -> str:
    return (urlsplit(address).hostname or "").lower()


def _is_same_site(host: str, known: str) -> bool:
    """Whether two hosts are equal, or one is a subdomain of the other, which is common for pages,
    API and SSH."""
    wide, narrow = sorted((host, known), key=len)
    is_name = "." in wide and not wide.replace(".", "").isdigit()
    return host == known or (is_name and narrow.endswith(f".{wide}"))


def _without_prefix(pasted: _Pasted, known: Collection[str]) -> tuple[str, ...]:
    """Return the path below the address where the host's pages begin, which may be below a site's
    root."""
    prefixes = [_split(urlsplit(each).path) for each in known if _host(each) == pasted.host]
    for prefix in sorted(prefixes, key=len, reverse=True):
        if prefix and pasted.path[: len(prefix)] == prefix:
            return pasted.path[len(prefix) :]
    return pasted.path


def _without_page(path: tuple[str, ...]) -> tuple[str, ...]:
    for index, part in enumerate(path):
        if part.endswith(".git") or (index >= 2 and re.fullmatch(_PAGE, part)):
            return path[: index + 1] if part.endswith(".git") else path[:index]
    return path


def _repository(parts: tuple[str, ...]) -> RepositoryId:
    *owner, slug = parts or ("",)
    slug = slug.removesuffix(".git")
    whole = [*owner, slug]
    if len(whole) < 2 or not all(re.match(_NAME, each) for each in whole):
        text = "/".join(parts)[:200]
        # The text before an @ may be a password.
        shown = "The text given" if "@" in text else repr(text)
        has_ref = any(each in whole[-1] for each in "@#:")
        raise ConfigurationError(
            f"{shown} does not name a repository.",
            hint=_EXAMPLE + (_BRANCH_APART if has_ref else ""),
        )
    return RepositoryId(owner="/".join(owner), slug=slug)
