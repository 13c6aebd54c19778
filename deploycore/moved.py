"""Modules that have moved can be imported by their previous names for one release.

An import by a previous name causes a ``DeprecationWarning``. Nothing is imported or searched for
until a previous name is used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers treat this as true; importing typing would cost 10 ms
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["FORMER_MODULES", "install"]

FORMER_MODULES = {
    "deploycore.application": "deploycore.applications.application",
    "deploycore.application_removal": "deploycore.installation.application_removal",
    "deploycore.declarations": "deploycore.applications.files",
    "deploycore.observers": "deploycore.provider.observers",
    "deploycore.registry": "deploycore.provider.registry",
    "deploycore.removal": "deploycore.disk.removal",
    "deploycore.webhooks": "deploycore.installation.webhooks",
}
"""Previous names that the documentation mentioned, and the current ones."""


class _Former:
    """Finds and loads modules by their previous names: a copy of the current module's names."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in FORMER_MODULES:
            return None
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, self)  # type: ignore[arg-type] # it has what the import system calls

    def create_module(self, spec: ModuleSpec) -> None:
        """Return ``None``, so that the import system finds the module."""

    def exec_module(self, module: ModuleType) -> None:
        import warnings
        from importlib import import_module

        present = FORMER_MODULES[module.__name__]
        warnings.warn(
            f"The module {module.__name__} has moved to {present}; the old name will be removed"
            " in the next minor release.",
            DeprecationWarning,
            stacklevel=2,
        )
        found = vars(import_module(present))
        public = {name: value for name, value in found.items() if not name.startswith("__")}
        vars(module).update(public, __doc__=found["__doc__"], __all__=found["__all__"])


def install() -> None:
    """Make the previous names importable."""
    import sys

    if not any(isinstance(finder, _Former) for finder in sys.meta_path):
        sys.meta_path.append(_Former())
