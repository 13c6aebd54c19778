"""The table of pages: path, role and function of each. Routes and tests use it."""

from __future__ import annotations

from deploycore.server.dashboard.page import Page
from deploycore.server.dashboard.pages import account, audit, overview, sign_in, tokens, users

__all__ = ["PAGES"]

PAGES: tuple[Page, ...] = (
    *sign_in.PAGES,
    *overview.PAGES,
    *users.PAGES,
    *tokens.PAGES,
    *audit.PAGES,
    *account.PAGES,
)
"""All pages, and what their forms are sent to."""
