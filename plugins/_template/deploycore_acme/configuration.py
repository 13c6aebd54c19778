"""What a person gives to connect Acme: forms and command-line options are made from it."""

from __future__ import annotations

from deploycore.configuration import HttpsAddress, ProviderConfig, TokenStr
from deploycore.http import BearerAuth, HttpAuth
from pydantic import Field

__all__ = ["READ_SCOPE", "AcmeConfig"]

READ_SCOPE = "repositories:read"  # EDIT 1: what the host calls the permission to read


class AcmeConfig(ProviderConfig):
    """One account of Acme."""

    # EDIT 2: the host's address, and what else it needs to be told
    url: HttpsAddress = Field(default="https://acme.example", description="where Acme is")
    owner: str = Field(
        min_length=1, description="whose repositories to list, as in acme.example/<owner>"
    )
    token: TokenStr = Field(description=f"access token with the scope {READ_SCOPE}")

    @property
    def api_base_url(self) -> str:
        return f"{self.url}/api/v1"  # EDIT 3: what the paths of the API begin with

    @property
    def api_auth(self) -> HttpAuth:
        return BearerAuth(
            self.token
        )  # EDIT 4: how requests are signed (also BasicAuth, HeaderAuth)
