"""Access to an LFS server that an SSH server gave."""

from __future__ import annotations

import time

from deploycore.git.lfs.ssh_access import SshAccess
from deploycore.models import CloneUrl

ENDPOINT = CloneUrl(url="https://lfs.example.com/acme/shop")


def test_access_that_is_about_to_expire_is_old():
    now = time.time()
    assert SshAccess(ENDPOINT, {}, until=now + 1).is_old
    assert not SshAccess(ENDPOINT, {}, until=now + 3600).is_old
    assert not SshAccess(ENDPOINT, {}).is_old


def test_its_headers_are_not_shown():
    assert "made-up" not in repr(SshAccess(ENDPOINT, {"Authorization": "made-up"}))
