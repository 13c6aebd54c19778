"""The pages of the documentation, with their examples, commands and addresses."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "plugins/*/README.md", "benchmarks/*.md")
    for page in ROOT.glob(pattern)
    if page.parent != ROOT / "docs/reference"  # rendered from pages that are checked themselves
)

_INLINE = re.compile(r"(?<!`)`deploycore\s+([^`]+)`(?!`)")
_ADDRESS = re.compile(r"https?://[^\s`<>\"'|\\…]*[^\s`<>\"'|\\….,;:)\]}*]")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def name_of(page: Path) -> str:
    """How a test names a page."""
    return page.relative_to(ROOT).as_posix()


def inline_commands(page: Path) -> Iterator[list[str]]:
    """What follows ``deploycore`` in commands that a sentence names, perhaps in part."""
    for written in _INLINE.findall(page.read_text()):
        yield [word for word in written.split() if word != "…"]


def commands_of(block: str) -> Iterator[list[str]]:
    """What follows ``deploycore`` in each command of a block; without ``$`` all lines are some."""
    lines = block.replace("\\\n", " ").splitlines()
    typed = [line[2:] for line in lines if line.startswith("$ ")] or lines
    for line in typed:
        for command in " ".join(shlex.split(line, comments=True)).split(" && "):
            program, *words = command.split() or [""]
            if Path(program).name == "deploycore":
                yield words


def addresses(page: Path) -> list[str]:
    """Every http or https address of a page."""
    return _ADDRESS.findall(page.read_text())


def local_links(page: Path) -> list[str]:
    """The targets of links to other files, without the place in them."""
    targets = [target.partition("#")[0] for target in _LINK.findall(page.read_text())]
    return [target for target in targets if target and "://" not in target]
