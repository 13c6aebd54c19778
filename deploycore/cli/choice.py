"""Choose the applications that ``deploycore deploy`` deploys."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from deploycore.cli.usage_error import UsageError
from deploycore.errors import ConfigurationError

__all__ = ["choose_applications"]

_CHOOSE = "Give the names of applications, or --all for all of them."


def choose_applications(
    names: Sequence[str],
    *,
    everything: bool,
    list_names: Callable[[], list[str]],
    check: Callable[[Sequence[str]], object],
) -> list[str]:
    """Return the applications that a command line names, each once.

    Args:
        names: The names that were given.
        everything: Whether ``--all`` was given.
        list_names: Lists the names of all applications.
        check: Raises an error if names are not those of applications.

    Raises:
        UsageError: There are neither names nor ``--all``, or both.
        ConfigurationError: There is no application, or some do not exist.
    """
    if everything and names:
        raise UsageError("Names of applications and --all cannot be combined.", hint=_CHOOSE)
    if everything:
        names = list_names()
        if not names:
            raise ConfigurationError(
                "There are no applications.", hint="Create one: deploycore app create --help"
            )
        return list(names)
    if not names:
        raise UsageError("The command deploycore deploy needs APPLICATION or --all.", hint=_CHOOSE)
    check(names)
    return list(dict.fromkeys(names))
