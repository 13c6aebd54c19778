"""Operations on an application's variables. The values of secrets are only ever written."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from starlette.responses import Response

from deploycore.applications.application import Application, SecretSource, parse_application
from deploycore.server.api import PREFIX, Api, Call, answer
from deploycore.server.checking import checked
from deploycore.server.problems import Refusal
from deploycore.server.rest.operation import Operation
from deploycore.server.views import Given, View
from deploycore.store import ApplicationRecord

__all__ = ["OPERATIONS"]

_ENVIRONMENT = f"{PREFIX}/applications/{{application}}/environment"
_STORED = "stored"
_VALUE_LENGTH = 65_536

_changing = threading.Lock()
"""A variable is changed by writing the whole declaration. This lock prevents that one of two
requests at once undoes the other."""


class VariableView(View):
    """A variable of an application's steps.

    Attributes:
        name: The name of the variable.
        value: The value; ``None`` for a secret.
        secret: Where the secret is read from: ``stored``, ``env:NAME`` or ``file:/absolute/path``;
            ``None`` for a value that is not secret.
        is_set: Whether there is a value; ``None`` if it is read from elsewhere.
        declared: Whether the declaration has the variable. Otherwise only a value is stored.
    """

    name: str
    value: str | None
    secret: str | None
    is_set: bool | None
    declared: bool


class VariablePage(View):
    """All variables of an application.

    Attributes:
        items: The variables.
    """

    items: Sequence[VariableView]


class VariableGiven(Given):
    """The value of a variable, or where it is read from.

    Attributes:
        value: A value that is not secret.
        secret: A secret value, which is stored encrypted.
        source: Where a secret is read from: ``env:NAME`` or ``file:/absolute/path``.
    """

    value: Annotated[str, Field(max_length=_VALUE_LENGTH)] | None = None
    secret: Annotated[SecretStr, Field(min_length=1, max_length=_VALUE_LENGTH)] | None = None
    source: Annotated[str, Field(max_length=4096)] | None = None

    @field_validator("source")
    @classmethod
    def _is_elsewhere(cls, text: str | None) -> str | None:
        if text == _STORED:
            raise ValueError("should be env:NAME or file:/absolute/path")
        return text

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        given = [each for each in (self.value, self.secret, self.source) if each is not None]
        if len(given) != 1:
            raise ValueError("should have one of value, secret and source")
        return self


class VariableChanged(View):
    """The result of setting a variable.

    Attributes:
        change: Whether the variable was created or changed.
        variable: The variable.
    """

    change: Literal["create", "change"]
    variable: VariableView


def list_environment(api: Api, call: Call) -> Response:
    """List the variables of an application's steps, without the values of secrets."""
    record = api.application(call.path["application"])
    return answer(VariablePage(items=list(_variables(record).values())))


def put_variable(api: Api, call: Call) -> Response:
    """Set a variable: to a value, to a secret that is stored encrypted, or to where one is read.

    Deployments that already run keep the previous value.
    """
    name = call.path["variable"]
    given = checked(VariableGiven, call.body)
    with _changing:
        record = api.application(call.path["application"])
        before = _variables(record).get(name)
        changed = _with_variable(record, name, _declared(given))
        if given.secret is not None:
            # Store the value first: a deployment that starts between the two writes must find a
            # value.
            api.installation.keep_application_secret(record.name, name, given.secret)
            record = api.application(record.name)
            changed = _with_variable(record, name, _declared(given))
        api.apply_at(changed, record.revision)
        if given.secret is None and name in record.secrets:
            api.installation.keep_application_secret(record.name, name, None)
    api.directory.invalidate()
    now = _variables(api.application(record.name))[name]
    change = VariableChanged(change="change" if before else "create", variable=now)
    return answer(change, status=200 if before else 201)


def delete_variable(api: Api, call: Call) -> Response:
    """Remove a variable, and erase its stored value."""
    name = call.path["variable"]
    with _changing:
        record = api.application(call.path["application"])
        if name not in _variables(record):
            raise Refusal(
                404,
                "not_found",
                f"The application {record.name!r} has no variable {name[:64]!r}.",
                hint=f"List them: GET {PREFIX}/applications/{record.name}/environment",
            )
        if name in record.definition.environment:
            api.apply_at(_with_variable(record, name, None), record.revision)
        if name in record.secrets:
            api.installation.keep_application_secret(record.name, name, None)
    api.directory.invalidate()
    return Response(status_code=204)


def _declared(given: VariableGiven) -> str | Mapping[str, str]:
    """Return the entry for a variable in the declaration."""
    if given.secret is not None:
        return {"secret": _STORED}
    return {"secret": given.source} if given.source is not None else given.value or ""


def _with_variable(
    record: ApplicationRecord, name: str, declared: str | Mapping[str, str] | None
) -> Application:
    """Return the definition with a variable added or changed, or without it if the value is
    ``None``."""
    values: dict[str, Any] = record.definition.as_dict()
    environment = {**values.get("environment", {}), name: declared}
    if declared is None:
        del environment[name]
    return parse_application({**values, "environment": environment})


def _variables(record: ApplicationRecord) -> dict[str, VariableView]:
    declared = record.definition.environment
    found = {name: _variable(record, name, value) for name, value in declared.items()}
    for name in sorted(record.secrets.keys() - declared.keys()):
        found[name] = VariableView(
            name=name, value=None, secret=_STORED, is_set=True, declared=False
        )
    return found


def _variable(record: ApplicationRecord, name: str, value: str | SecretSource) -> VariableView:
    if isinstance(value, str):
        return VariableView(name=name, value=value, secret=None, is_set=True, declared=True)
    is_set = name in record.secrets if value.secret == _STORED else None
    return VariableView(name=name, value=None, secret=value.secret, is_set=is_set, declared=True)


OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", _ENVIRONMENT, "read", list_environment, {200: VariablePage}),
    Operation(
        "PUT",
        f"{_ENVIRONMENT}/{{variable}}",
        "admin",
        put_variable,
        {200: VariableChanged, 201: VariableChanged},
        body=VariableGiven,
        refusals=(409,),
    ),
    Operation(
        "DELETE",
        f"{_ENVIRONMENT}/{{variable}}",
        "admin",
        delete_variable,
        {204: None},
        refusals=(409,),
    ),
)
