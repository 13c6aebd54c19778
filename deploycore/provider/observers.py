"""Call the hooks of observers, which receive calls and results but never a secret.

Each observer has a plugin manager of its own, so an observer that fails affects neither the call
nor other observers.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from deploycore.errors import ConfigurationError, PluginError, with_next_step
from deploycore.provider.background import is_interrupt, under_way
from deploycore.provider.entry_points import OBSERVER_GROUP, entry_points_by_name
from deploycore.settings import SETTINGS_FILE, home_directory

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    import pluggy

    from deploycore.provider.observer_settings import ObserverSettings

__all__ = ["Observers", "installed_observers", "observer_hooks"]

logger = logging.getLogger(__name__)


class Observers:
    """A set of observers.

    Args:
        observers: Modules or objects with ``@hookimpl`` functions of ``ObserverSpec``, by name.

    Raises:
        PluginError: An observer has an unknown hook, or a hook with an unknown argument.
    """

    def __init__(self, observers: Iterable[tuple[str, object]] = ()) -> None:
        self._managers = [_manager(name, observer) for name, observer in observers]

    def __bool__(self) -> bool:
        return bool(self._managers)

    @property
    def names(self) -> list[str]:
        """The names of the observers, in the order in which they are called."""
        return [_name_of(manager) for manager in self._managers]

    def one_by_one(self) -> list[Observers]:
        """Yield a separate set for each observer."""
        found = []
        for manager in self._managers:
            each = Observers()
            each._managers = [manager]
            found.append(each)
        return found

    def tell(self, hook: str, /, **arguments: object) -> None:
        """Call a hook of every observer. Errors are logged and ignored."""
        for _ in self.ask(hook, **arguments):
            pass

    def ask(self, hook: str, /, **arguments: object) -> Iterator[str]:
        """Call a hook of every observer, and yield the results that are text. Errors are logged and
        ignored."""
        for manager in self._managers:
            name = _name_of(manager)
            try:
                with under_way(f"observer {name}", hook):
                    answers = getattr(manager.hook, hook)(**arguments)
            except BaseException as error:
                if is_interrupt(error):
                    raise
                logger.warning("observer %s failed in %s: %s", name, hook, type(error).__name__)
            else:
                yield from (each for each in answers if isinstance(each, str) and each)


@cache
def installed_observers(home: Path | None = None) -> Observers:
    """Return the installed observers.

    An observer that is broken, whose import hangs, or whose settings are invalid is logged and
    skipped.

    Args:
        home: The data directory, whose ``settings.yaml`` has their settings (default: that of the
            environment).
    """
    installed = entry_points_by_name(OBSERVER_GROUP)
    if not installed and home is not None and not os.path.lexists(home / SETTINGS_FILE):
        return Observers()  # without the imports that observers need
    from deploycore.provider.registry import examine_each

    settings = _settings(home, installed)
    usable = []
    for outcome in examine_each(
        [
            (point, partial(_loaded, name, point, settings))
            for name, points in installed.items()
            for point in points
        ]
    ):
        if isinstance(outcome, PluginError):
            logger.warning("observer skipped: %s", with_next_step(outcome))
        else:
            usable.append(outcome)
    return Observers(usable)


def observer_hooks(name: str, observer: object) -> tuple[str, ...]:
    """Return the hooks of an observer.

    Raises:
        PluginError: It has an unknown hook, or a hook with an unknown argument.
    """
    callers = _manager(name, observer).get_hookcallers(observer) or ()
    return tuple(caller.name for caller in callers)


def _settings(home: Path | None, installed: Collection[str]) -> ObserverSettings:
    """Read the settings of observers; problems of the file are logged."""
    from deploycore.provider.observer_settings import read_observer_settings

    try:
        settings = read_observer_settings(home_directory() if home is None else home)
    except ConfigurationError as error:
        logger.warning("observers have no settings: %s", with_next_step(error))
        return {}
    for name in sorted(settings.keys() - set(installed)):
        logger.warning("observer %s has settings, but is not installed", name)
    return settings


def _loaded(name: str, point: EntryPoint, settings: ObserverSettings) -> tuple[str, object]:
    from deploycore.provider.observer_settings import create_observer
    from deploycore.provider.registry import imported

    try:
        observer = create_observer(imported(point), name, settings.get(name, {}))
    except ConfigurationError as error:
        raise PluginError(error.message, hint=error.hint) from None
    _manager(name, observer)
    return name, observer


def _name_of(manager: pluggy.PluginManager) -> str:
    """Return the name of the only observer of a manager."""
    return manager.list_name_plugin()[0][0]


def _manager(name: str, observer: object) -> pluggy.PluginManager:
    import pluggy

    from deploycore.hookspecs import ObserverSpec

    manager = pluggy.PluginManager("deploycore")
    manager.add_hookspecs(ObserverSpec)
    try:
        manager.register(observer, name=name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        reason = str(error)
    else:
        return manager
    raise PluginError(
        f"The observer {name!r} does not fit the specification: {reason}",
        hint="Upgrade the plugin. If that does not help, report this to its author.",
    )
