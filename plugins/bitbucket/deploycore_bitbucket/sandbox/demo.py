"""What there is to see in the demo: a person, a team, and repositories of some variety."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploycore.testing.repositories import Executable, Symlink

if TYPE_CHECKING:
    from deploycore_bitbucket.sandbox.sandbox import Sandbox

__all__ = ["fill"]

BRANCHES = ("feature/login", "release/2.0", "discount-50%", "fix-#17", "größe/日本語")
"""Names that break what is not escaped; git itself allows no spaces."""

_PAGE = b"<!DOCTYPE html>\n<title>Shop</title>\n<h1>Welcome</h1>\n"
_START = b"#!/bin/sh\nexec python3 -m http.server --directory public\n"


def fill(sandbox: Sandbox) -> None:
    """Add user ada, the workspaces ada and acme, and one credential of each mode."""
    ada = sandbox.add_user("ada", "ada@example.com", "Ada Lovelace")
    sandbox.add_workspace("ada", "Ada Lovelace", members=[ada])
    sandbox.add_workspace("acme", "Acme Corporation", members=[ada])
    sandbox.add_repository(
        "ada", "notes", name="Notes", private=False, files={"README.md": b"# Notes\n"}
    )
    sandbox.add_repository("ada", "empty", name="Nothing here yet")
    sandbox.add_repository("acme", "shop", name="Shop", description="Where people buy anvils")
    commit = sandbox.commit(
        "acme",
        "shop",
        "main",
        {
            "README.md": b"# Shop\n",
            "public/index.html": _PAGE,
            "bin/start": Executable(_START),
            "start": Symlink("bin/start"),
        },
        "Open the shop",
    )
    sandbox.add_branches("acme", "shop", BRANCHES, at=commit)
    sandbox.add_repository("acme", "website", name="Website", files={"index.html": _PAGE})
    sandbox.add_app_password(ada)
    sandbox.add_api_token(ada)
    sandbox.add_access_token("acme")
