"""Read the forms that pages send (``application/x-www-form-urlencoded``)."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl

from starlette.requests import Request

from deploycore.server.accounts import Visitor
from deploycore.server.bodies import read_body
from deploycore.server.options import ServerOptions
from deploycore.server.problems import Refusal

__all__ = ["FORM_TOKEN", "Form", "read_form", "refuse_forged"]

FORM_TOKEN = "form_token"  # noqa: S105  the name of a field
_FIELDS_MOST = 1000


class Form(Mapping[str, str]):
    """The fields of a form. Of a name that occurs several times, the last one counts.

    A form may hold secrets, so its ``repr`` has the names only.
    """

    def __init__(self, fields: list[tuple[str, str]] | None = None) -> None:
        self._fields = fields or []
        self._last = dict(self._fields)

    def __getitem__(self, name: str) -> str:
        return self._last[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._last)

    def __len__(self) -> int:
        return len(self._last)

    def __repr__(self) -> str:
        return f"Form({sorted(self._last)})"

    def all(self, name: str) -> list[str]:
        """Return all values of a name."""
        return [value for each, value in self._fields if each == name]


async def read_form(request: Request, options: ServerOptions) -> Form:
    """Read the form that a request sends.

    Raises:
        Refusal: It is no form (415), cannot be read (400), or is too large or too slow, as for
            every body.
    """
    body = await read_body(request, options)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and media_type != "application/x-www-form-urlencoded":
        raise Refusal(415, "unsupported_media_type", "The body is not a form.")
    try:
        fields = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_FIELDS_MOST,
        )
    except ValueError:
        raise Refusal(400, "malformed", "The form cannot be read.") from None
    # Browsers send line breaks of a text area as CR LF (HTML, 4.10.21.7).
    return Form([(name, value.replace("\r\n", "\n")) for name, value in fields])


def refuse_forged(form: Form, visitor: Visitor) -> None:
    """Refuse a form that a page of another site may have made the browser send.

    Raises:
        Refusal: It does not have the session's form token (403).
    """
    wanted = visitor.form_token.get_secret_value().encode()
    if not hmac.compare_digest(form.get(FORM_TOKEN, "").encode(), wanted):
        raise Refusal(
            403,
            "forged",
            "The form is from another session.",
            hint="Go back, load the page again, and send the form once more.",
        )
