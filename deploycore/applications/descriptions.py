"""The description of each field of a declaration, from the models' docstrings.

Forms and the API's document show them, so that they are written once.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from functools import cache
from typing import get_args

from pydantic import BaseModel

__all__ = ["describe_fields", "describe_model", "models_within"]

_ATTRIBUTE = re.compile(r"^ {4}(\w+(?:, \w+)*): (.*)$")


@cache
def describe_fields(model: type[BaseModel]) -> Mapping[str, str]:
    """Return the description of each field of a model, as its docstring has it.

    Values and names are in single backticks, as in Markdown. If the docstring does not describe a
    field, its description comes from the model that it is inherited from.
    """
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if issubclass(each, BaseModel):
            found |= _attributes(each.__doc__)
    return {name: found[name] for name in model.model_fields if name in found}


def describe_model(model: type[BaseModel]) -> str:
    """Return the first paragraph of a model's docstring, as Markdown in one line."""
    text = inspect.cleandoc(model.__doc__ or "").partition("\n\n")[0]
    return _as_markdown(" ".join(text.split()))


def models_within(model: type[BaseModel]) -> Mapping[str, type[BaseModel]]:
    """Return a model and the models of its fields, by name."""
    found: dict[str, type[BaseModel]] = {}
    waiting: list[object] = [model]
    while waiting:
        each = waiting.pop()
        if not (inspect.isclass(each) and issubclass(each, BaseModel)):
            waiting += get_args(each)
        elif each.__name__ not in found:
            found[each.__name__] = each
            waiting += [field.annotation for field in each.model_fields.values()]
    return found


def _attributes(docstring: str | None) -> dict[str, str]:
    lines = inspect.cleandoc(docstring or "").partition("Attributes:\n")[2].splitlines()
    found: dict[str, str] = {}
    names: list[str] = []
    for line in lines:
        first = _ATTRIBUTE.match(line)
        if first:
            names = first[1].split(", ")
            found |= dict.fromkeys(names, first[2])
        elif line.startswith(" " * 8):
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
        elif line.strip():
            break
    return {name: _as_markdown(text) for name, text in found.items()}


def _as_markdown(text: str) -> str:
    return text.replace("``None``", "``null``").replace("``", "`")
