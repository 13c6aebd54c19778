"""Read the forms that pages send (``application/x-www-form-urlencoded``)."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, urlsplit

from pydantic import SecretStr
from starlette.requests import Request

from deploycore.server.bodies import read_body
from deploycore.server.options import ServerOptions
from deploycore.server.problems import Refusal

__all__ = ["FORM_TOKEN", "Form", "read_form", "refuse_foreign", "refuse_forged"]

FORM_TOKEN = "form_token"  # noqa: S105  the name of a field
_FIELDS_MOST = 1000


class Form(Mapping[str, str]):
    """The fields of a form. If a name occurs several times, the last field is used.

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
        Refusal: The body is not a form (415), cannot be read (400), or is too large or too slow, as
            for every body.
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


def refuse_forged(form: Form, wanted: SecretStr | None) -> None:
    """Refuse a form that another site may have caused the browser to send.

    Args:
        wanted: The form token that belongs to the request's cookie; ``None`` without a cookie.

    Raises:
        Refusal: The form does not have the token (403).
    """
    token = (wanted or SecretStr("")).get_secret_value().encode()
    given = form.get(FORM_TOKEN, "").encode("utf-8", "replace")
    if not token or not hmac.compare_digest(given, token):
        raise Refusal(
            403,
            "forged",
            "The form is from another session.",
            hint="Allow cookies of this site, load the page again, and send the form once more.",
        )


def refuse_foreign(request: Request, *, own_hosts: frozenset[str]) -> None:
    """Refuse a form if the browser reports that it comes from another site.

    Args:
        own_hosts: The hosts of this server besides the one in the request, with their ports.

    Raises:
        Refusal: The form comes from another site (403).
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:  # browsers send this header only with TLS, and on this machine
        is_own = site in ("same-origin", "none")
    else:
        hosts = own_hosts | {request.headers.get("host", "")}
        is_own = origin is None or (origin != "null" and _host_of(origin) in hosts)
    if not is_own:
        raise Refusal(
            403,
            "forged",
            "The form was sent by a page of another site.",
            hint="Open the page on this site, and send its form. If a proxy changes the Host"
            " header, set DEPLOYCORE_PUBLIC_URL to the address in the browser.",
        )


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
