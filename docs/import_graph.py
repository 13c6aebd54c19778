"""Print the figures of the import graph: ``python docs/import_graph.py``.

Packages and modules directly below ``deploycore`` are its nodes. An import below ``TYPE_CHECKING``
counts as none; an import within a function counts like every other.
"""

from __future__ import annotations

from pathlib import Path

import grimp

__all__ = ["main"]

PACKAGE = "deploycore"


def main() -> None:
    """Print nodes, arrows, layers, circles and the longest modules."""
    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=True, cache_dir=None)
    nodes = sorted(graph.find_children(PACKAGE))
    below: dict[str, set[str]] = {node: set() for node in nodes}
    for node in nodes:
        for other in nodes:
            if node != other and graph.direct_import_exists(
                importer=node, imported=other, as_packages=True
            ):
                below[node].add(other)
    layers, circles = _layers(below)
    print(f"{len(nodes)} packages and modules, {sum(map(len, below.values()))} arrows")
    print(f"{len(layers)} layers, {len(circles)} in circles")
    for number, layer in enumerate(layers):
        print(f"  {number:2}  {', '.join(sorted(each.split('.')[1] for each in layer))}")
    root = Path(__file__).parents[1] / PACKAGE
    lengths = [(len(path.read_text().splitlines()), path) for path in root.rglob("*.py")]
    print("longest modules:")
    for lines, path in sorted(lengths, reverse=True)[:5]:
        print(f"  {lines:4} lines  {path.relative_to(root.parent)}")


def _layers(below: dict[str, set[str]]) -> tuple[list[set[str]], set[str]]:
    """Layers from the ground up, and what is left because it is in or above a circle."""
    layers: list[set[str]] = []
    placed: set[str] = set()
    while layer := {
        node for node, needs in below.items() if node not in placed and needs <= placed
    }:
        layers.append(layer)
        placed |= layer
    return layers, set(below) - placed


if __name__ == "__main__":
    main()
