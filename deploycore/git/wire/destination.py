"""Rules for addresses that come from a server's answer or from ``.gitmodules``.

Both can name any host. Without these rules, a git server, or anyone who can push, could make this
machine send requests to services that only this machine can reach: on its loopback interface, in
its network, or the metadata service of a cloud, which returns credentials (server-side request
forgery).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from deploycore.errors import UnsafeRepository
from deploycore.git.wire.address import is_address
from deploycore.git.wording import clean
from deploycore.http.origin import Origin
from deploycore.models import CloneUrl

if TYPE_CHECKING:
    from urllib3 import HTTPConnectionPool

__all__ = ["Destinations", "SubmoduleDestinations", "resolved", "shown_origin"]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Resolve = Callable[[str], Iterable[str]]


class _Reach(IntEnum):
    """The scope of an address. A server may name addresses of its own scope and of lower ones."""

    PUBLIC = 0
    PRIVATE = 1
    LOOPBACK = 2
    UNROUTED = 3


def resolved(host: str) -> list[str]:
    """Resolve a host name, or an address in any notation that connections accept.

    Returns:
        All addresses; none if the name has none, since then no connection is possible either.
        Names below ``localhost`` always mean this machine, even if the local resolver disagrees,
        because a proxy uses another resolver (RFC 6761, 6.3).
    """
    if host.rstrip(".").lower().rpartition(".")[2] == "localhost":
        return ["127.0.0.1", "::1"]
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [str(place[0]) for *_, place in found]


def shown_origin(url: str) -> str:
    """Scheme, host and port of a URL, for messages: its path and query may hold tokens."""
    try:
        origin = Origin.of(url)
    except ValueError:
        return "a malformed address"
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    return clean(f"{origin.scheme}://{host}" + (f":{origin.port}" if origin.port else ""))


class Destinations:
    """The addresses to which the server of one repository may refer us.

    These are its own origin, and public addresses by https. A server that has only private
    addresses may also name private ones, and a server on loopback private and loopback ones: this
    is how a self-hosted server with its own storage is set up.

    Args:
        source: The repository, whose address the user trusts.
        resolve: Resolves a host name.
        within: Further rules, which also apply to the repository's own origin: the user did not
            choose the address of a submodule.
    """

    def __init__(
        self,
        source: CloneUrl,
        resolve: Resolve = resolved,
        *,
        within: Destinations | None = None,
    ) -> None:
        self._source = source
        self._home = Origin.of(source.url)
        self._resolve = resolve
        self._within = within

    def origin_of(self, url: str) -> Origin:
        """Return the origin of a URL, after all checks that need no name resolution.

        Raises:
            UnsafeRepository: The URL is malformed, has user information, or is not https.
        """
        if not is_address(url):
            raise self._refused(url, "it is malformed")
        origin = Origin.of(url)
        if not origin.covers(url):
            raise self._refused(url, "it holds user information, or is ambiguous")
        if origin.scheme != "https" and origin != self._home and not self._is_local(origin):
            raise self._refused(url, "it is not https")
        return origin

    def _is_local(self, origin: Origin) -> bool:
        """Whether a repository over SSH on this machine has an HTTP server here, too."""
        is_beside = self._home.scheme == "ssh" and origin.scheme == "http"
        return is_beside and self._home.is_loopback and origin.is_loopback

    def refuse_private(self, url: str) -> None:
        """Refuse a host that the source's server may not name.

        Raises:
            UnsafeRepository: One of the host's addresses is not allowed.
        """
        if self._within is not None:
            self._within.refuse_private(url)
        origin = self.origin_of(url)
        if origin != self._home:
            for address in self._resolve(origin.host):
                self._refuse_address(url, address)

    def watch(self, pool: HTTPConnectionPool, url: str) -> None:
        """Check the address of each connection before anything is sent on it.

        A name can resolve to another address a moment later (DNS rebinding). With a proxy, the
        proxy resolves names, so this check is not possible.

        Args:
            pool: Connections to the origin of ``url``, none of them open yet.
        """
        if self._within is not None:
            self._within.watch(pool, url)
        if pool.proxy is not None or self.origin_of(url) == self._home:
            return
        made: Any = pool.ConnectionCls
        refuse_address = self._refuse_address

        class Watched(made):  # type: ignore[misc]
            def _new_conn(self) -> socket.socket:
                connected: socket.socket = super()._new_conn()
                try:
                    refuse_address(url, str(connected.getpeername()[0]))
                except BaseException:
                    connected.close()
                    raise
                return connected

        pool.ConnectionCls = Watched

    def _refuse_address(self, url: str, address: str) -> None:
        if _reach(address) > self._own_reach:
            raise self._refused(url, f"{clean(address)} is not a public address")

    @cached_property
    def _own_reach(self) -> _Reach:
        """The lowest scope of the source's addresses, since one of them may be a stray record."""
        reaches = [_reach(each) for each in self._resolve(self._home.host)]
        return min(reaches, default=_Reach.PUBLIC)

    def _refused(self, url: str, why: str) -> UnsafeRepository:
        return UnsafeRepository(
            f"The server of {self._source.url} redirects to {shown_origin(url)}, which is not"
            f" followed: {why}.",
            hint="Configure the server to name public https addresses, or ones of its own origin.",
            url=self._source.url,
        )


class SubmoduleDestinations(Destinations):
    """The addresses that submodules may have, nested ones included; by the same rules.

    In addition, a source on loopback may use other loopback ports by plain http, and an origin that
    the user named a credential for may have any address: the user chose it, as that of the source.

    Args:
        source: The outermost repository.
    """

    _named: frozenset[Origin] = frozenset()

    def admit(self, origin: Origin) -> None:
        """Accept an origin that the user named a credential for: at any address, and over SSH.

        Args:
            origin: The origin of the URL that was granted, not of the URL in ``.gitmodules``.
        """
        self._named |= {origin}

    def takes_scheme_of(self, origin: Origin) -> bool:
        """Whether an origin uses https, or is allowed to use http."""
        if origin.scheme == "https" or origin == self._home:
            return True
        if origin.scheme == "ssh":
            return origin in self._named
        return origin.scheme == "http" and origin.is_loopback and self._home.is_loopback

    def origin_of(self, url: str) -> Origin:
        """Return the origin of a well-formed URL.

        Raises:
            UnsafeRepository: The scheme is not allowed.
        """
        origin = Origin.of(url)
        if not self.takes_scheme_of(origin):
            raise self._refused(url, "it is not https")
        return origin

    def refuse_private(self, url: str) -> None:
        """Refuse a host that ``.gitmodules`` may not name.

        Raises:
            UnsafeRepository: One of the host's addresses is not allowed.
        """
        if self.origin_of(url) not in self._named:
            super().refuse_private(url)

    def watch(self, pool: HTTPConnectionPool, url: str) -> None:
        """Check the address of each connection, unless the user named the origin."""
        if self.origin_of(url) not in self._named:
            super().watch(pool, url)

    def _refused(self, url: str, why: str) -> UnsafeRepository:
        return UnsafeRepository(
            f"A submodule of {self._source.url} is at {shown_origin(url)}, which is not allowed:"
            f" {why}.",
            hint="Give it a public https address, or one of the same origin, in .gitmodules, or"
            " deploy with submodules: false.",
            url=self._source.url,
        )


def _reach(text: str) -> _Reach:
    address = _unwrapped(ipaddress.ip_address(text))
    if address.is_loopback:
        return _Reach.LOOPBACK
    odd = address.is_link_local or address.is_multicast or address.is_reserved
    if odd or address.is_unspecified:
        return _Reach.UNROUTED
    site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return _Reach.PUBLIC if address.is_global and not site_local else _Reach.PRIVATE


def _unwrapped(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address that an IPv6 address stands for (RFC 4291, 2.5.5.2; 3056; 6052)."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
