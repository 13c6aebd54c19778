"""The servers and repositories of the git tests, for tests that cause failures on purpose."""

from __future__ import annotations

from tests.faults.statements import refuse
from tests.git.conftest import http_backend, make, server, settings, stock_git

__all__ = ["http_backend", "make", "refuse", "server", "settings", "stock_git"]
