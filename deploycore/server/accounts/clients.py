"""Describe the browser and the network of a client, for the list of a user's sessions."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network

__all__ = ["describe_browser", "shorten_address"]

_BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iOS"),
    ("iPad", "iPadOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def describe_browser(user_agent: str) -> str:
    """Return the browser and the system of a ``User-Agent``, such as ``Firefox on Linux``."""
    browser = next((name for part, name in _BROWSERS if part in user_agent), "Another browser")
    system = next((name for part, name in _SYSTEMS if part in user_agent), "")
    return f"{browser} on {system}" if system else browser


def shorten_address(address: str) -> str:
    """Return the network of an address, which does not identify one person: an IPv4 address without
    its last number, or the /48 network of an IPv6 address. Empty if it is not an address."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, IPv6Address):
        return str(ip_network((found, 48), strict=False))
    return f"{str(found).rpartition('.')[0]}.x"
