"""A client of a deploycore server's REST API."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Self
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from deploycore import errors
from deploycore.errors import AuthenticationFailed, ConfigurationError, DeploycoreError
from deploycore.http import BearerAuth, ErrorAnswer, HttpClient, HttpSettings
from deploycore.redaction import Redactor

__all__ = ["RemoteServer", "error_of", "server_url"]

_PREFIX = "/api/v1"
_OWN_DETAILS = {"code", "message", "hint", "server", "retry_at"}
"""Details that are not taken from the server: the arguments of errors, and the server's address."""
_READ_SECONDS = 90.0
"""More than the server waits for a git host, so that its own error arrives."""
_PARAMETER = re.compile(r"{(\w+)}")


class RemoteServer:
    """A deploycore server.

    Args:
        url: The server's URL, from ``server_url``.
        token: One of the server's API tokens.
    """

    def __init__(self, url: str, token: SecretStr) -> None:
        self.url = url
        client = HttpClient(
            url + _PREFIX,
            auth=BearerAuth(token),
            redactor=Redactor([token]),
            settings=HttpSettings(read_timeout=_READ_SECONDS),
        )
        self._client = client.explaining(self._explain)

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        **parameters: object,
    ) -> Any:
        """Run an operation.

        Args:
            method: The operation's method.
            path: The operation's path as in the server's OpenAPI document, without ``/api/v1``.
            query: The query's parameters. Those that are ``None`` are left out.
            body: The body.
            parameters: The values of the path's parameters.

        Returns:
            The response's JSON; ``None`` if it has no content.

        Raises:
            DeploycoreError: The server's own error, by its code, or an error of the connection.
        """
        address, params = _filled(path, parameters), _texts(query or {})
        if method == "GET":
            return self._client.get_json(address, params=params)
        return self._client.send_json(method, address, params=params, body=body)

    def items(
        self,
        path: str,
        *,
        most: int,
        query: Mapping[str, Any] | None = None,
        **parameters: object,
    ) -> Iterator[Any]:
        """Yield the items of a list, from as many pages as are needed.

        Args:
            path: The operation's path.
            most: The maximum number of items.
            query: The query's parameters.
            parameters: The values of the path's parameters.

        Raises:
            DeploycoreError: As ``ask``.
        """
        page = self._client.get_json(_filled(path, parameters), params=_texts(query or {}))
        while True:
            yield from page["items"][:most]
            most -= len(page["items"])
            following = page.get("next")
            if not following or most <= 0:
                return
            page = self._client.get_json(following.removeprefix(_PREFIX + "/"))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _explain(self, answer: ErrorAnswer) -> DeploycoreError | None:
        problem = answer.json if isinstance(answer.json, dict) else {}
        message, hint = problem.get("message"), problem.get("hint")
        if not isinstance(message, str) or not isinstance(hint, str):
            return None
        if answer.status == 401:
            return AuthenticationFailed(
                f"The server {self.url} rejected your token.",
                hint=f"Sign in again: deploycore login {self.url}",
                server=self.url,
            )
        code, details = str(problem.get("code")), problem.get("details")
        given = details if isinstance(details, dict) else {}
        is_of_host = "provider" in given and len(given) > 1  # a host's error says more
        if code == "conflict" or (code == "not_found" and not is_of_host):
            code = ConfigurationError.code  # about the server's own names, as on its machine
        kept = {name: value for name, value in given.items() if name not in _OWN_DETAILS}
        return error_of(code, message, hint=hint, server=self.url, **kept)


def _filled(path: str, parameters: Mapping[str, object]) -> str:
    """Return a path below the API's with the values of its parameters."""
    filled = _PARAMETER.sub(lambda name: quote(str(parameters[name[1]]), safe=""), path)
    return filled.lstrip("/")


def _texts(query: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters of a query as they are sent, without those that are ``None``."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in query.items()
        if value is not None
    }


def error_of(code: str, message: str, *, hint: str = "", **details: Any) -> DeploycoreError:
    """Return the error for a code, as the server's machine would raise it.

    Args:
        code: The code; an unknown one gives a ``DeploycoreError``.
        message: The error's message.
        hint: The next step.
        details: Fields for programs.
    """
    if code == "permission_denied":
        return errors.PermissionDenied(message, hint=hint, **details)
    known = (getattr(errors, name) for name in errors.__all__)
    found = next((each for each in known if each.code == code), DeploycoreError)
    error: DeploycoreError = found(message, hint=hint, **details)
    return error


def server_url(text: str) -> str:
    """Return the URL of a server as it is stored: without a path, and with a scheme.

    Raises:
        ConfigurationError: It is not the URL of a server.
    """
    wanted = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(wanted)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    is_plain = not (parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in ("http", "https") or not parts.hostname or not is_plain:
        raise ConfigurationError(
            "The address of the server is not an http or https URL.",
            hint="Write it like https://deploy.example.com.",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    address = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
    return address + parts.path.rstrip("/")
