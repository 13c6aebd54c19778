"""The commands of a release: steps and the health check."""

import shlex
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator

from deploycore.applications.fields import Count, Seconds, Text, number_as_text
from deploycore.models import Model

__all__ = ["Command", "HealthCheck", "Step", "Steps"]

_STATUS = "^[1-5][0-9]{2}(?:-[1-5][0-9]{2})?$"


def _command(value: Any) -> Any:
    """The short forms of a step: a list of arguments, or a line that is split into arguments."""
    if isinstance(value, str):
        return {"run": _split(value)}
    return {"run": value} if isinstance(value, list | tuple) else value


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise ValueError(f"should be a command line: {error}") from None


class Command(Model):
    """A program to run in the release.

    Attributes:
        run: The program and its arguments; no shell interprets them.
        shell: A command line for ``/bin/sh``, instead of ``run``.
        timeout: Time limit in seconds.
    """

    run: Annotated[
        tuple[Text, ...], BeforeValidator(lambda v: _split(v) if isinstance(v, str) else v)
    ] = ()
    shell: Annotated[str, Field(max_length=65_536, pattern=r"^[^\x00]*$")] | None = None
    timeout: Seconds = 600.0

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if bool(self.run) == bool(self.shell and self.shell.strip()):
            raise ValueError("should have either run or shell")
        return self

    @property
    def arguments(self) -> tuple[str, ...]:
        """The program to start, with its arguments."""
        return self.run if self.shell is None else ("/bin/sh", "-c", self.shell)

    def __str__(self) -> str:
        return shlex.join(self.run) if self.shell is None else self.shell


class Step(Command):
    """A command to run in the release's directory.

    Attributes:
        name: The name that logs show (default: the command).
    """

    name: Text | None = None


StepList = tuple[Annotated[Step, BeforeValidator(_command)], ...]


class Steps(Model):
    """The commands to run for a release, and when.

    Attributes:
        build: Run after the files and the links to shared paths are in place.
        before_activate: Run after all build steps; a failure here does not affect the live
            release.
        after_activate: Run when the release is live. If one fails, the previous release is
            restored.
    """

    build: StepList = ()
    before_activate: StepList = ()
    after_activate: StepList = ()


class HealthCheck(Command):
    """How to check that a live release works. If it does not, the previous release is restored.

    Attributes:
        url: An ``http://`` or ``https://`` URL, requested with GET; redirects are not followed.
            Instead, ``run`` or ``shell`` can name a command, which must exit with status 0.
        status: The status codes that mean success: one, such as ``200``, or a range, such as
            ``200-299``.
        timeout: Time limit of one attempt, in seconds.
        interval: Seconds between two attempts.
        retries: Number of attempts after the first.
        deadline: Time limit of all attempts together, in seconds.
    """

    url: Text | None = None
    status: Annotated[str, BeforeValidator(number_as_text), Field(pattern=_STATUS)] = "200-299"
    timeout: Seconds = 5.0
    interval: Seconds = 1.0
    retries: Count = 10
    deadline: Seconds = 60.0

    @field_validator("url")
    @classmethod
    def _url_can_be_asked(cls, url: str | None) -> str | None:
        if url is None:
            return url
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("should be an absolute http or https URL")
        if parts.username is not None or parts.password is not None:
            raise ValueError("should not have a user or a password")
        return url

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        given = (self.url is not None, bool(self.run), bool(self.shell and self.shell.strip()))
        if sum(given) != 1:
            raise ValueError("should have one of url, run and shell")
        return self

    def is_good(self, status: int) -> bool:
        """Whether a response with this status means that the release works."""
        first, _, last = self.status.partition("-")
        return int(first) <= status <= int(last or first)
