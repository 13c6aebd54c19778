"""The table of pages: path, role and function of each. Routes and tests use it."""

from __future__ import annotations

from deploycore.server.dashboard.page import Page
from deploycore.server.dashboard.pages import (
    account,
    activity,
    application,
    application_parts,
    applications,
    audit,
    deploy_keys,
    deployment,
    diagnosis,
    overview,
    provider_forms,
    provider_sign_in,
    providers,
    sign_in,
    tokens,
    users,
)

__all__ = ["PAGES"]

PAGES: tuple[Page, ...] = (
    *sign_in.PAGES,
    *overview.PAGES,
    *applications.PAGES,
    *application_parts.PAGES,
    *diagnosis.PAGES,
    *provider_forms.PAGES,
    *provider_sign_in.PAGES,
    *providers.PAGES,
    *deploy_keys.PAGES,
    *application.PAGES,
    *deployment.PAGES,
    *activity.PAGES,
    *users.PAGES,
    *tokens.PAGES,
    *audit.PAGES,
    *account.PAGES,
)
"""All pages, and the targets of their forms.

The forms for something new are below ``/-/``, because no name can be "-", but an application may be
called "new".
"""
