"""The content of the demo: names that must be escaped, and files of several kinds."""

from __future__ import annotations

from collections.abc import Mapping

from deploycore.testing.repositories import Executable, File, Symlink

__all__ = ["BRANCHES", "SHOP", "WEBSITE"]

BRANCHES = ("feature/login", "release/2.0", "discount-50%", "fix-#17", "größe/日本語")
"""Names that cause errors if they are not escaped. Git itself allows no spaces."""

_PAGE = b"<!DOCTYPE html>\n<title>Shop</title>\n<h1>Welcome</h1>\n"

SHOP: Mapping[str, File] = {
    "README.md": b"# Shop\n",
    "public/index.html": _PAGE,
    "bin/start": Executable(b"#!/bin/sh\nexec python3 -m http.server --directory public\n"),
    "start": Symlink("bin/start"),
}
WEBSITE: Mapping[str, File] = {"index.html": _PAGE}
