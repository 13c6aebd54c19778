"""Addresses that a page names. Links within the site are checked when it is built, and whether
others are alive by ``sphinx-build -b linkcheck``, which needs a network."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from deploycore.http.origin import Origin
from tests.docs.pages import PAGES, ROOT, addresses, local_links, name_of

OUTSIDE_OF_THE_SITE = [page for page in PAGES if not page.is_relative_to(ROOT / "docs")]


def is_well_formed(address: str) -> bool:
    """Whether an address is https or leads to this machine, as every program reads it alike."""
    origin = Origin.of(address)
    is_safe = origin.is_loopback or (origin.scheme == "https" and "." in origin.host)
    return is_safe and origin.covers(address) and "//" not in urlsplit(address).path


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_addresses_are_valid_and_use_https_unless_local(page):
    assert [address for address in addresses(page) if not is_well_formed(address)] == []


@pytest.mark.parametrize("page", OUTSIDE_OF_THE_SITE, ids=name_of)
def test_links_to_repository_files_resolve(page):
    assert [link for link in local_links(page) if not (page.parent / link).exists()] == []


@pytest.mark.parametrize(
    "address", ["http://acme.example/", "https://acme", "https://a.b//c", "https://a:b@c.example"]
)
def test_an_invalid_address_is_detected(tmp_path, address):
    page = tmp_path / "page.md"
    page.write_text(f"See [this]({address}).")
    assert [is_well_formed(found) for found in addresses(page)] == [False]
