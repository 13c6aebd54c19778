"""Find, load and check plugins.

Loading a plugin imports only this one, so a broken plugin does not affect others. The class is
checked completely before it gets a configuration or a secret. Imports run in separate threads with
a time limit, so a plugin whose import hangs is reported, and does not block others.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from deploycore.configuration import ProviderConfig, discriminator_of
from deploycore.errors import ConfigurationError, PluginError
from deploycore.provider.background import (
    BackgroundCall,
    Unanswered,
    call_within,
    is_interrupt,
    printing_to_stderr,
    under_way,
)
from deploycore.provider.contract_check import check_provider_class, implemented_hooks
from deploycore.provider.display import display_name_of, summary_of
from deploycore.provider.entry_points import (
    CONTRACT_GROUP,
    OBSERVER_GROUP,
    PROVIDER_GROUP,
    SANDBOX_GROUP,
    distribution_name,
    distribution_of,
    entry_points_by_name,
    identity_of,
    key_of,
    label_of,
    normalise_kind,
    only_one,
)
from deploycore.provider.requirement import needed_release
from deploycore.provider.signatures import classes_of_modes, takes_git
from deploycore.provider.watchdog import ending_process
from deploycore.records import record
from deploycore.text.raised import raised_text, shortened
from deploycore.text.suggestions import did_you_mean
from deploycore.version import __version__

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from deploycore.provider.isolation import Ending

__all__ = [
    "CONTRACT_GROUP",
    "OBSERVER_GROUP",
    "PROVIDER_GROUP",
    "SANDBOX_GROUP",
    "Plugin",
    "check_provider_class",
    "distribution_name",
    "endless_import",
    "entry_points_by_name",
    "examine_each",
    "identity_of",
    "implemented_hooks",
    "import_entry_point",
    "imported",
    "isolated_import_error",
    "label_of",
    "load_plugin",
    "normalise_kind",
    "only_one",
    "refuse_import",
    "stopped_import",
]

T = TypeVar("T")

LISTED_SECONDS = 10.0
"""Maximum seconds for the import of an observer, or of a plugin that is only listed."""
NEEDED_SECONDS = 60.0
"""Maximum seconds for the import of a plugin that is needed. It is longer, because the machine may
be slow, and no other plugin can be used instead."""
_ALONE_SECONDS = 1.0
_HELD_SECONDS = 10.0
"""Further seconds after which the interpreter is considered blocked, also on a slow machine."""

_refused: dict[tuple[str, str, str, str], PluginError] = {}
"""The errors of plugins that must not be imported in this process, by entry point."""
_imported: dict[tuple[str, str, str, str], object] = {}
"""The modules of plugins whose import has ended in this process."""


@record
class Plugin:
    """A provider class that passed all checks, and its distribution.

    Attributes:
        mode: The only mode that ``provider_class`` serves; empty if it serves all modes that have
            no class of their own.
    """

    kind: str
    provider_class: type
    distribution: str
    version: str
    origin: str
    hooks: tuple[str, ...]
    mode: str = ""

    def for_config(self, config: ProviderConfig) -> Plugin:
        """The same plugin with the class that serves a configuration: its own, or that of its mode;
        see ``CLASSES_OF_MODES`` in :mod:`deploycore.hookspecs`."""
        for each in classes_of_modes(self.provider_class):
            if isinstance(config, each.Config):
                mode = str(getattr(config, discriminator_of(self.config_type) or "", ""))
                return replace(self, provider_class=each, hooks=implemented_hooks(each), mode=mode)
        return self

    @property
    def kind_and_mode(self) -> str:
        """The kind, and the mode if it has a class of its own, for errors."""
        return f"{self.kind} in mode {self.mode}" if self.mode else self.kind

    @property
    def config_type(self) -> Any:
        """The plugin's ``Config``: a subclass of ``ProviderConfig``, or a union of several."""
        return self.provider_class.Config  # type: ignore[attr-defined]

    @property
    def takes_git(self) -> bool:
        """Whether the class takes a ``GitReader`` as its third argument."""
        return takes_git(self.provider_class)

    @property
    def display_name(self) -> str:
        """The name of the kind for people: ``DISPLAY_NAME`` of the class, or one made from the
        kind."""
        return display_name_of(self.provider_class, self.kind)

    @property
    def summary(self) -> str:
        """Which hosts the plugin is for, in one sentence: ``SUMMARY`` of the class; empty if it has
        none."""
        return summary_of(self.provider_class)

    @property
    def label(self) -> str:
        """The plugin's name and version, for errors."""
        return f"{self.distribution} {self.version}"


def load_plugin(kind: str) -> Plugin:
    """Import and check the plugin of a kind.

    Args:
        kind: The kind. It is normalized.

    Raises:
        ConfigurationError: No plugin of this kind is installed.
        PluginError: The plugin cannot be imported, violates the contract, or was written for
            another version of it. Or two distributions have this kind.
    """
    kind = normalise_kind(kind)
    installed = entry_points_by_name(PROVIDER_GROUP)
    if kind not in installed:
        known = ", ".join(installed) or "none"
        raise ConfigurationError(
            f"No plugin for providers of kind {kind!r} is installed (installed: {known}).",
            hint=f"{did_you_mean(kind, installed)}Check the spelling, or install the plugin's"
            " distribution next to deploycore.",
            kind=kind,
        )
    return _load(kind, only_one(kind, installed[kind]))


def import_entry_point(point: EntryPoint) -> Any:
    """Import the object that an entry point names.

    Raises:
        PluginError: The import fails or does not end, or the name does not exist.
    """
    return _apart(point, lambda: imported(point))


def imported(point: EntryPoint) -> Any:
    """Import the object that an entry point names, in the current thread without a time limit.

    Raises:
        PluginError: The import fails, the name does not exist, or the plugin requires a newer
            deploycore.
    """
    if needed := needed_release(point):
        raise PluginError(
            f"The plugin {label_of(point)} requires {needed}, and this is deploycore"
            f" {__version__}.",
            hint="Upgrade deploycore, or install an older release of the plugin.",
            plugin=label_of(point),
        )
    if (refusal := _refused.get(key_of(point))) is not None:
        raise refusal
    try:
        return point.load()
    except BaseException as error:
        if is_interrupt(error):
            raise
        reason = shortened(raised_text(error))
    raise PluginError(
        f"The plugin {label_of(point)} cannot be imported from {point.value}: {reason}",
        hint="Reinstall or upgrade the plugin. If that does not help, report this to its author.",
        plugin=label_of(point),
    )


def refuse_import(point: EntryPoint, error: PluginError) -> None:
    """Prevent the import of an entry point in this process, because its import does not return.

    Args:
        error: The error to raise instead.
    """
    _refused[key_of(point)] = error


def examine_each(
    examinations: Sequence[tuple[EntryPoint, Callable[[], T]]],
) -> list[T | PluginError]:
    """Import and examine several plugins. None of them blocks the others.

    They are examined one after another, because a second thread could see a module that is only
    partly imported. Only if one takes long, the next one starts in parallel.

    Args:
        examinations: Each entry point, with the function that imports and examines it.

    Returns:
        The result or the problem of each, in the same order.
    """
    begun = []
    for point, examine in examinations:
        with _ending_if_held(point, LISTED_SECONDS):
            begun.append((point, BackgroundCall(_noting(point, _translating(point, examine)))))
            begun[-1][1].wait(min(_ALONE_SECONDS, LISTED_SECONDS))
    outcomes: list[T | PluginError] = []
    for point, call in begun:
        if not _is_over(point, call):
            call.leave(lambda result: None)
            outcomes.append(endless_import(point, LISTED_SECONDS))
            continue
        try:
            outcomes.append(call.result())
        except PluginError as error:
            outcomes.append(error)
    return outcomes


def _is_over(point: EntryPoint, call: BackgroundCall[Any]) -> bool:
    """Wait for an examination as long as it may take."""
    if call.wait(0):
        return True
    with _ending_if_held(point, LISTED_SECONDS):
        return call.wait(call.began + LISTED_SECONDS - time.monotonic())


def _ending_if_held(point: EntryPoint, seconds: float) -> AbstractContextManager[None]:
    """End the process if the block waits for a plugin's import and the interpreter is blocked, so
    that the wait cannot be abandoned.

    Args:
        seconds: The maximum time of the wait.
    """
    module = sys.modules.get(point.module)
    if module is not None and _imported.get(key_of(point)) is module:
        return nullcontext()
    seconds += _HELD_SECONDS
    return ending_process(
        seconds,
        f"Error: The plugin {label_of(point)} cannot be imported from {point.value}: the import"
        f" did not end within {seconds:g} s and stopped all of deploycore, which was ended.\n"
        "  Next: Upgrade or uninstall the plugin. To see where its import is held:"
        " deploycore plugins",
    )


def isolated_import_error(kind: str, ending: Ending) -> PluginError:
    """Return the error for a plugin whose import, in a separate process, did not end normally.

    Args:
        kind: The kind of the provider, normalized.
        ending: How the process ended.
    """
    points = entry_points_by_name(PROVIDER_GROUP).get(kind, ())
    return stopped_import(only_one(kind, points), ending)


def stopped_import(point: EntryPoint, ending: Ending) -> PluginError:
    """Return the error for an entry point whose import, in a separate process, did not end
    normally."""
    frame = ending.frame(("<module>",))
    place = f" in {frame.file}, line {frame.line}" if frame else ""
    reason = f"{ending}{place}"
    if ending.cause != "ended":
        reason = f"its import did not end{place}, and had to be stopped"
    return PluginError(
        f"The plugin {label_of(point)} cannot be imported from {point.value}: {reason}.",
        hint="Upgrade or uninstall the plugin. Its import must not end the process.",
        plugin=label_of(point),
        hook="import",
    )


def endless_import(point: EntryPoint, seconds: float) -> PluginError:
    """Return the error for an import that was abandoned after this number of seconds."""
    return PluginError(
        f"The plugin {label_of(point)} cannot be imported from {point.value}: the import did not"
        f" end within {seconds:g} s.",
        hint="Upgrade or uninstall the plugin. Its import must not wait, for example for a"
        " network.",
        plugin=label_of(point),
        hook="import",
    )


def _load(kind: str, point: EntryPoint) -> Plugin:
    def examine() -> tuple[Any, tuple[str, ...]]:
        candidate = imported(point)
        return candidate, check_provider_class(candidate, plugin=label_of(point))

    provider_class, hooks = _apart(point, examine)
    distribution, version = distribution_of(point)
    return Plugin(
        kind=kind,
        provider_class=provider_class,
        distribution=distribution,
        version=version or "unknown",
        origin=point.value,
        hooks=hooks,
    )


def _apart(point: EntryPoint, examine: Callable[[], T]) -> T:
    try:
        with _ending_if_held(point, NEEDED_SECONDS):
            # Record the call in the thread that waits, because only waiting threads are asked about
            # it.
            found = _noting(
                point, lambda: call_within(_translating(point, examine), NEEDED_SECONDS)
            )()
            _imported[key_of(point)] = sys.modules.get(point.module)
            return found
    except Unanswered:
        pass
    raise endless_import(point, NEEDED_SECONDS)


def _noting(point: EntryPoint, action: Callable[[], T]) -> Callable[[], T]:
    def noted() -> T:
        with under_way(f"plugin {point.name}", "import", label_of(point)):
            return action()

    return noted


def _translating(point: EntryPoint, examine: Callable[[], T]) -> Callable[[], T]:
    """Return a function that converts all other errors of the examination, such as those of an
    unusual class, to typed errors."""

    def translated() -> T:
        try:
            with printing_to_stderr():
                return examine()
        except PluginError:
            raise
        except BaseException as error:
            if is_interrupt(error):
                raise
            reason = shortened(raised_text(error))
        raise PluginError(
            f"The plugin {label_of(point)} cannot be inspected: {reason}",
            hint="Upgrade the plugin. If that does not help, report this to its author.",
            plugin=label_of(point),
        )

    return translated
