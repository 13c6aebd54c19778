"""Find secrets that are stored encrypted, wherever they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deploycore.secrets import is_sealed
from deploycore.store.named import Statements
from deploycore.store.reading import readable_records

__all__ = ["sealed_secrets"]


def sealed_secrets(statements: Statements) -> Iterator[str]:
    """Yield the encrypted secrets of providers, webhooks, deploy keys and applications, except
    those of damaged records."""

    def rows(table: str, statement: str) -> Iterator[Any]:
        return readable_records(table, statements.run(statement).rows, lambda row: row)

    for provider in rows("providers", "providers"):
        yield from filter(is_sealed, provider["secrets"].values())
        yield from filter(is_sealed, (provider["former_secrets"] or {}).values())
    tokens = statements.run("tokens of providers").values
    yield from (each for each in tokens if isinstance(each, str))
    for webhook in rows("webhooks", "webhooks"):
        yield from filter(is_sealed, [webhook["secret"]])
    for key in rows("deploy_keys", "deploy keys with secrets"):
        yield from filter(is_sealed, [key["secret"]])
    for application in rows("applications", "applications"):
        yield from filter(is_sealed, application["secrets"].values())
