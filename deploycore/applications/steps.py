"""What is done with a release: commands, steps and the health check."""

from __future__ import annotations

import shlex
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator

from deploycore.applications.fields import Count, Seconds, Text, number_as_text
from deploycore.models import Model

__all__ = ["Command", "HealthCheck", "Step", "Steps"]

_STATUS = "^[1-5][0-9]{2}(?:-[1-5][0-9]{2})?$"


def _command(value: Any) -> Any:
    """The short forms of a step: a list of arguments, or a line that is split into them."""
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
        run: The program and its arguments, each as it is: no shell looks at them.
        shell: Instead of ``run``: a line for ``/bin/sh``.
        timeout: Seconds that it may take.
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
    """Something to do with a release, in the release's directory.

    Attributes:
        name: For people; by default the command.
    """

    name: Text | None = None


StepList = tuple[Annotated[Step, BeforeValidator(_command)], ...]


class Steps(Model):
    """What is done with a release, and when.

    Attributes:
        build: When its files are there, and links to what is shared.
        before_activate: When all builds are done: the last chance to fail without anybody
            noticing.
        after_activate: When it is live. If one fails, the former release is put back.
    """

    build: StepList = ()
    before_activate: StepList = ()
    after_activate: StepList = ()


class HealthCheck(Command):
    """How to tell that a release works, once it is live. If it does not, the former one returns.

    Attributes:
        url: ``http://`` or ``https://``; asked with GET, redirects are not followed. Instead of
            it, ``run`` or ``shell`` name a command, which must end with 0.
        status: The answers that are good: ``200``, or from one to another, ``200-299``.
        timeout: Seconds for one try.
        interval: Seconds between two tries.
        retries: Tries after the first.
        deadline: Seconds for all of them together.
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
        """Whether an answer of this status says that the release works."""
        first, _, last = self.status.partition("-")
        return int(first) <= status <= int(last or first)
