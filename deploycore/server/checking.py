"""Validate a client's input. Errors name each invalid field, and never its value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from deploycore.server.problems import Refusal
from deploycore.text.validation import find_problems

__all__ = ["checked"]

ModelT = TypeVar("ModelT", bound=BaseModel)


def checked(model: type[ModelT], values: Mapping[str, Any]) -> ModelT:
    """Validate values as a model.

    Raises:
        Refusal: Some values are invalid or unknown (422).
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [each.text("/") for each in find_problems(error, model, values)]
    raise Refusal(
        422,
        "configuration",
        f"The request is not valid: {'; '.join(problems)}.",
        hint="See the request's fields in the OpenAPI document: /api/v1/openapi.json",
        details={"fields": problems},
    )
