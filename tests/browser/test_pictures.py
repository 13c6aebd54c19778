"""The pictures of the dashboard in the README and the documentation.

To write them again: ``DEPLOYCORE_WRITE_PICTURES=1 pytest tests/browser/test_pictures.py``.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from pathlib import Path

import pytest

from deploycore.errors import DeploycoreError
from tests.browser.conftest import sign_in

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
WRITES = os.environ.get("DEPLOYCORE_WRITE_PICTURES") == "1"
SUBJECTS = ("Show prices with tax", "Cache the start page", "Sort products by name")
IN_SRV = """directory => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        texts.currentNode.data = texts.currentNode.data.replaceAll(directory, "/srv");
    }
}"""
"""Shows the applications' directories as those of a server, not of a test."""
PAGES = {"overview": "/", "application": "/applications/shop", "deployment": "/deployments/6"}


@pytest.fixture
def lively(new_site):
    """A site with four applications: three work, and the last change of one did not."""
    provider, owner = new_site.add_provider(), new_site.connection().owner
    sandbox = new_site.sandbox
    with new_site.installation() as opened:
        for name in ("shop", "website", "docs", "billing"):
            files = {"README": name.encode(), "build.sh": b"printf 'built 214 pages\\n'\n"}
            sandbox.publish(owner, name, "main", files, f"Begin the {name}")
            opened.add_application(
                name,
                provider=provider,
                repository=f"{owner}/{name}",
                ref="main",
                target=new_site.directory / name,
                steps={"build": [{"shell": "sh build.sh"}]},
                health_check={"shell": "test ! -e BROKEN", "retries": 1},
            )
            if name != "billing":
                opened.deploy(name, requested_by="ada")
        for number, subject in enumerate(SUBJECTS):
            files = {"README": b"%d" % number, "build.sh": b"printf 'built 214 pages\\n'\n"}
            broken = {"BROKEN": b""} if number == 2 else {}
            sandbox.publish(owner, "shop", "main", files | broken, subject)
            with suppress(DeploycoreError):
                opened.deploy("shop", requested_by="grace")
    new_site.start("--workers", "0")
    new_site.link = new_site.sign_in_link()
    return new_site


def test_each_page_of_the_documentation_has_a_screenshot(lively, visit):
    page = visit(lively, width=1100)
    sign_in(page, lively)
    for name, path in PAGES.items():
        page.goto(path)
        page.wait_for_load_state("load")
        page.evaluate(IN_SRV, str(lively.directory))
        picture = page.screenshot()
        assert struct.unpack(">II", picture[16:24]) == (1100, 900)
        assert len(picture) > 20_000  # something is on it
        if WRITES:
            (PICTURES / f"{name}.png").write_bytes(picture)
        assert (PICTURES / f"{name}.png").is_file()
