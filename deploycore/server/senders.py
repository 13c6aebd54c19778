"""The sender of a request: a network address, so that senders get equal shares of limits."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

__all__ = ["forwarded_address", "sender_of"]

_SUBNET_BITS = 64
"""The part of an IPv6 address that identifies a sender: providers give at least such a network to
one customer (RFC 6177)."""

_ADDRESS_LENGTH = 45


def forwarded_address(values: Iterable[str]) -> str | None:
    """Return the address that the proxy saw, from ``X-Forwarded-For``.

    Only the last entry comes from the proxy. The client sent the others.

    Args:
        values: The values of all headers with this name, in their order.

    Returns:
        The address in its usual form; ``None`` if there is none.
    """
    last = ",".join(values).rpartition(",")[2].strip()
    if last.startswith("["):
        last = last[1:].partition("]")[0]
    elif last.count(":") == 1:
        last = last.partition(":")[0]
    found = _address(last)
    return None if found is None else str(found)


@lru_cache(maxsize=1000)
def sender_of(address: str) -> str:
    """Return the key of a sender: an IPv4 address, or the /64 network of an IPv6 address."""
    found = _address(address)
    if isinstance(found, IPv6Address):
        network = int(found) >> (128 - _SUBNET_BITS) << (128 - _SUBNET_BITS)
        return f"{IPv6Address(network)}/{_SUBNET_BITS}"
    return str(found)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    text = text.partition("%")[0]  # a zone may have any text
    if len(text) > _ADDRESS_LENGTH:
        return None
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
