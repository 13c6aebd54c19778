"""Public names of a package that are imported when they are first used.

A command takes longer to import its modules than to do its work. So packages with expensive modules
(git, HTTP, the engine, the store) do not import these modules in their ``__init__``. The first use
of a name imports only the module that defines it. Type checkers read the plain imports below
``TYPE_CHECKING`` instead.

This module imports nothing, since ``import deploycore`` runs it.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers treat this as true; importing typing would cost 10 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["lazy_exports"]


def lazy_exports(
    package: str, names_by_module: Mapping[str, Sequence[str]]
) -> Callable[[str], object]:
    """The ``__getattr__`` of a package that imports its public names at first use.

    Args:
        package: The package's ``__name__``.
        names_by_module: The public names that each module defines, by the module's full name.
    """
    modules = {name: module for module, names in names_by_module.items() for name in names}

    def get_attribute(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        import sys
        from importlib import import_module

        value: object = getattr(import_module(modules[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return get_attribute
