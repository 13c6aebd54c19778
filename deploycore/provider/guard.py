"""Run plugin code so that all its errors become typed errors."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from time import monotonic
from typing import TypeVar

from deploycore.errors import DeploycoreError, PluginError, UnexpectedAnswer
from deploycore.models import RepositoryId
from deploycore.provider.background import describe_raised, is_interrupt, running
from deploycore.provider.listings import MOST_REPEATS
from deploycore.provider.stored_credentials import StoredCredentials
from deploycore.redaction import Redactor
from deploycore.text.raised import shortened
from deploycore.version import __version__

__all__ = ["Guard"]

T = TypeVar("T")

_BROKEN = "Upgrade the plugin. If that does not help, report this to its author."


class Guard:
    """The boundary between the core and the plugin of one provider.

    Args:
        provider: The name of the provider.
        plugin: The plugin's name and version, for errors.
        redactor: Masks the provider's secrets.
        stored: What is known about the credentials, if they are stored.
    """

    def __init__(
        self,
        provider: str,
        plugin: str,
        redactor: Redactor,
        stored: StoredCredentials | None = None,
    ) -> None:
        self._provider = provider
        self._plugin = plugin
        self._redactor = redactor
        self._stored = stored

    def __call__(self, hook: str, action: Callable[[], T], redactor: Redactor | None = None) -> T:
        """Run plugin code.

        Args:
            redactor: Masks also the secrets among the hook's arguments.

        Raises:
            DeploycoreError: An error for the exception that the code raised, with context and
                without secrets.
        """
        redactor = redactor or self._redactor
        me = get_ident()
        running[me] = f"provider {self._provider}", hook, self._plugin, monotonic()
        try:
            return action()
        except DeploycoreError as error:
            failure = error
        except BaseException as error:
            if is_interrupt(error):
                raise
            failure = self.broken(hook, describe_raised(error), _hint(error))
        finally:
            running.pop(me, None)
        self.explain(failure)
        failure.message = redactor.mask(failure.message)
        failure.hint = redactor.mask(failure.hint)
        failure.args = (failure.message,)
        failure.add_context(provider=self._provider, plugin=self._plugin, hook=hook)
        # The chain may have an exception of a library with a secret in its text. The plugin's
        # frames may have a secret in a variable, or a response that contains one.
        failure.__cause__ = failure.__context__ = None
        raise failure.with_traceback(None)

    def explain(self, error: DeploycoreError) -> None:
        """Add to an error what is known about the provider's credentials; see
        ``StoredCredentials``."""
        if self._stored is not None:
            self._stored.explain(error)

    def broken(self, hook: str, what: str, hint: str = _BROKEN) -> PluginError:
        """Return the error for a plugin that violates the contract."""
        return PluginError(
            shortened(
                self._redactor.mask(f"The plugin violates the provider contract: {hook} {what}.")
            ),
            hint=hint,
            provider=self._provider,
            plugin=self._plugin,
            hook=hook,
        )

    def endless(self, hook: str) -> UnexpectedAnswer:
        """Return the error for a listing that does not end."""
        return UnexpectedAnswer(
            f"The listing does not end: the host repeated {MOST_REPEATS} items in a row.",
            hint="Try again later. If it happens again, tell the git host's support.",
            provider=self._provider,
            plugin=self._plugin,
            hook=hook,
        )

    def unread(self, repository: RepositoryId, branch: str) -> UnexpectedAnswer:
        """Return the error for a branch that may be among the items that could not be parsed."""
        return UnexpectedAnswer(
            f"Some branches of repository {repository} cannot be read in the host's answer; branch "
            f"{branch!r} was not found among the others.",
            hint="See the warning in the log for the reasons, and upgrade the plugin.",
            provider=self._provider,
            repository=str(repository),
            branch=branch,
        )


def _hint(error: BaseException) -> str:
    """Return the next step after an error in a plugin's code."""
    from pydantic import ValidationError  # not at start-up: few commands need it

    if isinstance(error, ValidationError) and any(
        each["type"] == "extra_forbidden" for each in error.errors(include_input=False)
    ):
        return (
            f"The plugin uses a field that deploycore {__version__} does not have. Upgrade"
            " deploycore to the version that the plugin's documentation names. If that does not"
            " help, tell the plugin's author."
        )
    return _BROKEN
