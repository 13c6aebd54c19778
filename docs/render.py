"""Renders the reference as Markdown into ``docs/reference``: ``python docs/render.py``.

It writes the table for completion, too, which is made from the commands like their reference.

A git host shows Markdown files but runs no Sphinx, so the rendered pages are committed. A test
compares them with what this makes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["main", "render"]

DOCS = Path(__file__).parent
COMMITTED = DOCS / "reference"


def render(to: Path, doctrees: Path) -> dict[str, str]:
    """Render the reference.

    Args:
        to: An empty directory to work in.
        doctrees: Sphinx's parsed pages; those of another build of the same pages save time.

    Returns:
        The text of each page, by its file name.

    Raises:
        RuntimeError: Sphinx failed; the message is what it printed.
    """
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "markdown", "-d", str(doctrees)]
    pages = sorted(map(str, COMMITTED.glob("*.md")))  # Sphinx reads all pages, and writes these
    done = subprocess.run(  # noqa: S603
        [*command, str(DOCS), str(to), *pages], capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)
    return {page.name: _tidy(page.read_text()) for page in sorted((to / "reference").glob("*.md"))}


def main() -> None:
    """Write the rendered pages to ``docs/reference``, and the table for completion."""
    subprocess.run([sys.executable, str(DOCS / "completion.py")], check=True)  # noqa: S603
    # Sphinx reads the names of the pages from this folder, so each source needs a file there.
    sources = {page.name for page in (DOCS / "reference_sources").glob("*.md")}
    COMMITTED.mkdir(exist_ok=True)
    for gone in {page.name for page in COMMITTED.glob("*.md")} - sources:
        (COMMITTED / gone).unlink()
    for name in sources:
        (COMMITTED / name).touch()
    with tempfile.TemporaryDirectory() as scratch:
        rendered = render(Path(scratch, "pages"), Path(scratch, "doctrees"))
    for name, text in rendered.items():
        (COMMITTED / name).write_text(text)


def _tidy(text: str) -> str:
    lines = [line.rstrip() for line in text.splitlines()]
    return "\n".join(lines).strip("\n") + "\n"


if __name__ == "__main__":
    main()
