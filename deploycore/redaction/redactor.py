"""Mask secrets in text, such as messages and log lines."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from pydantic import BaseModel, SecretStr

from deploycore.redaction.forms import as_bytes, forms_of
from deploycore.redaction.search import Search
from deploycore.redaction.stream import StreamRedactor, masked

__all__ = ["Redactor", "secrets_in"]

# Learned tokens expire after about an hour. A process that runs for months must not search for all
# tokens that it has ever used.
_LEARNED_MOST = 64


def secrets_in(model: BaseModel) -> list[SecretStr]:
    """Return every non-empty ``SecretStr`` in a model's fields, including nested models."""
    found: list[SecretStr] = []
    for field in type(model).model_fields:
        value = getattr(model, field)
        if isinstance(value, SecretStr) and value.get_secret_value():
            found.append(value)
        elif isinstance(value, BaseModel):
            found.extend(secrets_in(value))
    return found


class Redactor:
    """Replaces known secrets in text, in the forms in which they usually appear.

    It masks each secret, and each line of at least eight characters if a secret has several lines.
    These forms are known: plain, in UTF-16, percent-encoded once or twice, quoted for a shell,
    escaped for JSON once or twice, for HTML or XML, in hexadecimal, and in base64, alone or in a
    longer text such as ``user:secret`` in a Basic header (RFC 7617), also in lines of at least 60
    characters. Parts of a secret, other encodings and compressed text are not masked;
    ``deploycore.redaction.forms`` has the whole list. Adjacent matches become one mask.

    Args:
        secrets: The values to mask. Values under four characters are ignored.
    """

    def __init__(self, secrets: Iterable[SecretStr] = ()) -> None:
        self._given = tuple(secrets)
        self._learned: tuple[SecretStr, ...] = ()
        # A signal handler may mask a message while this thread holds the lock.
        self._learning = threading.RLock()
        self._prepared: Search | None = None

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """The values to mask: the given ones, and the latest learned ones."""
        return (*self._given, *self._learned)

    def learn(self, secret: SecretStr) -> None:
        """Mask a further value from now on, such as a token that was obtained at run time.

        Streams that are already open do not mask it. This is safe to call from several threads.
        """
        if not secret.get_secret_value() or secret in self.secrets:
            return
        with self._learning:
            if secret not in self._learned:
                is_full = len(self._learned) == _LEARNED_MOST
                self._learned = (*self._learned, secret)[-_LEARNED_MOST:]
                if self._prepared is not None:
                    forms = forms_of([secret])
                    self._prepared = None if is_full else self._prepared.extended(forms)

    def extended(self, secrets: Iterable[SecretStr]) -> Redactor:
        """Return a redactor that masks further secrets too."""
        further = tuple(secrets)
        with self._learning:
            made = Redactor((*self.secrets, *further))
            if self._prepared is not None:
                made._prepared = self._prepared.extended(forms_of(further))
        return made

    @property
    def _search(self) -> Search:
        """The search. It is prepared when a text is first masked, because a private key has
        hundreds of forms, and most redactors of a command never mask anything."""
        prepared = self._prepared
        if prepared is None:
            with self._learning:
                if self._prepared is None:
                    self._prepared = Search(forms_of(self.secrets))
                prepared = self._prepared
        return prepared

    def mask(self, text: str) -> str:
        """Return the text with every known secret replaced by eight asterisks."""
        search = self._search
        if not search.longest:
            return text
        data = as_bytes(text)
        shown = masked(search, data)
        return text if shown == data else shown.decode("utf-8", "surrogateescape")

    def stream(self) -> StreamRedactor:
        """Return a redactor of the same secrets for one stream of bytes."""
        return StreamRedactor(self._search)

    def __repr__(self) -> str:
        return "Redactor()"
