"""Check that each wheel has the files of its packages that git tracks, and no others.

    python .ci/wheel_files.py DIRECTORY PROJECT [PROJECT ...]

The projects are directories with a ``pyproject.toml``; the directory has their wheels.
"""

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

NEEDED = {
    "deploycore": {
        "deploycore/py.typed",
        "deploycore/_docs/applications.md",
        "deploycore/_template/pyproject.toml",
        "deploycore/_observer_template/pyproject.toml",
    }
}
"""What the code of a package reads: a configuration without it would also be right otherwise."""


def main() -> int:
    directory, *projects = map(Path, sys.argv[1:])
    wrong = [each for project in projects for each in differences(directory, project)]
    print("\n".join(wrong) or f"{len(projects)} wheels have the files of their packages.")
    return bool(wrong)


def differences(directory: Path, project: Path) -> Iterator[str]:
    """The files that only the wheel or only the project has, as lines to print."""
    configuration = tomllib.loads((project / "pyproject.toml").read_text())
    name = configuration["project"]["name"].replace("-", "_")
    (wheel,) = directory.glob(f"{name}-[0-9]*.whl")
    with ZipFile(wheel) as archive:
        packed = {each for each in archive.namelist() if ".dist-info/" not in each}
    target = configuration["tool"]["hatch"]["build"]["targets"]["wheel"]
    tracked = {*files_of(project, target), *NEEDED.get(name, ())}
    for each in sorted(tracked ^ packed):
        yield f"{wheel.name}: {each} is {'missing' if each in tracked else 'not a tracked file'}."


def files_of(project: Path, target: dict[str, object]) -> Iterator[str]:
    """The paths in the wheel of all tracked files that belong there."""
    places = {each: each for each in target["packages"]} | target.get("force-include", {})
    for source, place in places.items():
        listed = subprocess.run(
            ["git", "ls-files", "-z", source], cwd=project, check=True, capture_output=True
        )
        found = [each for each in listed.stdout.decode().split("\0") if each]
        if not found:
            raise SystemExit(f"git tracks no file of {project / source}.")
        for each in found:
            yield place + each.removeprefix(source)


if __name__ == "__main__":
    sys.exit(main())
