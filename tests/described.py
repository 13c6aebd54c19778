"""Responses that are valid by an OpenAPI 3.0 description: complete, minimal, and with one field
missing.

Tests use them to check a plugin against every response that the host's description allows. Existing
generators for JSON schemas do not support OpenAPI's ``nullable``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["Schemas"]

DEEPEST = 5
"""The depth of nested objects that are generated. Deeper ones have only their required
properties."""

_TEXTS = {"uri": "https://example.com/x", "date-time": "2024-05-01T09:30:00+00:00"}


class Schemas:
    """The schemas of a description.

    Args:
        description: The decoded document.
        texts: The text for properties with a name, if not any text would be valid.
    """

    def __init__(self, description: dict[str, Any], texts: dict[str, str]) -> None:
        self._schemas = description["components"]["schemas"]
        self._texts = texts

    def valid(self, name: str) -> Iterator[Any]:
        """Yield valid responses for a schema: the complete one, the minimal one, and those
        between."""
        schema = {"$ref": f"#/components/schemas/{name}"}
        whole = self._whole(schema, "", DEEPEST)
        yield whole
        yield self._whole(schema, "", 0)
        yield from self._lessened(schema, whole, DEEPEST)

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return a schema with references and ``allOf`` merged into it."""
        if "$ref" in schema:
            return self._resolved(self._schemas[schema["$ref"].rpartition("/")[2]])
        merged: dict[str, Any] = {"properties": {}, "required": set()}
        for part in (*map(self._resolved, schema.get("allOf", ())), schema):
            properties = {**merged["properties"], **part.get("properties", {})}
            required = merged["required"] | set(part.get("required", ()))
            merged = {**merged, **part, "properties": properties, "required": required}
        return merged

    def _whole(self, schema: dict[str, Any], name: str, depth: int) -> Any:
        found = self._resolved(schema)
        if "enum" in found:
            return found["enum"][0]
        kind = found.get("type", "object")
        if kind == "array":
            return [self._whole(found["items"], name, depth - 1)] if depth > 0 else []
        if kind == "string":
            return self._texts.get(name) or _TEXTS.get(found.get("format", ""), "text")
        if kind in ("integer", "number"):
            return found.get("minimum", 1)
        if kind == "boolean":
            return True
        return {
            key: self._whole(inner, key, depth - 1)
            for key, inner in found["properties"].items()
            if depth > 0 or key in found["required"]
        }

    def _lessened(self, schema: dict[str, Any], value: Any, depth: int) -> Iterator[Any]:
        """Yield the value without each of its optional parts in turn, and with null if that is
        allowed."""
        found = self._resolved(schema)
        if isinstance(value, list):
            yield []
            for number, item in enumerate(value):
                for less in self._lessened(found["items"], item, depth - 1):
                    yield [*value[:number], less, *value[number + 1 :]]
        if not isinstance(value, dict) or depth <= 0:
            return
        for key, inner in value.items():
            part = found["properties"][key]
            if key not in found["required"]:
                yield {other: kept for other, kept in value.items() if other != key}
            if self._resolved(part).get("nullable"):
                yield {**value, key: None}
            for less in self._lessened(part, inner, depth - 1):
                yield {**value, key: less}
