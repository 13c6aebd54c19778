"""Sign-ins at sandboxes without the command line, for tests of plugins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Self

import requests

from deploycore.configuration import parse_config
from deploycore.credentials.authorize import AuthorizationRequest, redirect_uri
from deploycore.credentials.keeper import StoredToken, TokenSource
from deploycore.http import HttpSettings
from deploycore.installation.sign_in import ProviderSignIn
from deploycore.provider import Provider
from deploycore.provider.observers import Observers
from deploycore.provider.registry import load_plugin
from deploycore.tokens import AuthorizationCode, Token

__all__ = ["SignedIn", "TokenBox"]


class TokenBox:
    """A store for one token, used as a vault and as a storage."""

    def __init__(self) -> None:
        self.token: Token | None = None
        self.generation = 0

    def put(self, key: str, token: Token) -> None:
        self.finish_renewal(key, self.generation + 1, token, None)

    def load(self, key: str) -> StoredToken | None:
        if self.token is None:
            return None
        return StoredToken(self.token, self.generation, 3600, 3600)

    def begin_renewal(self, key: str, generation: int, seconds: float) -> bool:
        return True

    def finish_renewal(
        self, key: str, generation: int, token: Token, lifetime: float | None
    ) -> bool:
        self.token, self.generation = token, generation
        return True

    def give_up_renewal(self, key: str) -> None:
        """Return true, because there is no other process."""


class SignedIn:
    """Opens providers of one kind after a person has signed in, and closes them at the end."""

    def __init__(self, kind: str) -> None:
        self._plugin = load_plugin(kind)
        self._opened = ExitStack()

    def __call__(
        self,
        settings: Mapping[str, object],
        enter: Callable[[str], object] = lambda user_code: None,
    ) -> Provider:
        """Sign in with the fields of a configuration.

        Args:
            enter: Called with the code of a device, which a person enters at the host.
        """
        values = {"name": "work", **settings}
        config = parse_config(self._plugin.config_type, values, kind=self._plugin.kind)
        box = TokenBox()
        with ProviderSignIn(self._plugin, config, box) as sign_in:
            flow = sign_in.flow
            if isinstance(flow, AuthorizationCode):
                request = AuthorizationRequest.new(flow, redirect_uri(flow.redirect_port or 8912))
                found = requests.get(request.address, allow_redirects=False, timeout=10)
                query = found.headers["Location"].partition("?")[2]
                token = sign_in.exchange(request, request.read_query(query))
            else:
                code = sign_in.begin_device(flow)
                enter(code.user_code)
                token = sign_in.wait_for_device(flow, code, seconds=900, sleep=lambda seconds: None)
            sign_in.store(token, verify=Provider.authenticate)
        made = Provider(
            self._plugin,
            config,
            http_settings=HttpSettings(retries=0),
            observers=Observers(),
            tokens=TokenSource(storage=box, provider="work"),
        )
        return self._opened.enter_context(made)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._opened.close()
