"""Configuration of Acme: forms and command-line options are made from its fields."""

from deploycore.configuration import HttpsAddress, ProviderConfig, TokenStr
from deploycore.http import BearerAuth, HttpAuth
from pydantic import Field

__all__ = ["READ_SCOPE", "AcmeConfig"]

READ_SCOPE = "repositories:read"  # EDIT 1: the host's name of the permission to read


class AcmeConfig(ProviderConfig):
    """One account of Acme."""

    # EDIT 2: the host's address, and other values that the user enters
    url: HttpsAddress = Field(default="https://acme.example", description="address of Acme")
    owner: str = Field(
        min_length=1, description="owner of the repositories, as in acme.example/<owner>"
    )
    token: TokenStr = Field(description=f"access token with the scope {READ_SCOPE}")

    @property
    def api_base_url(self) -> str:
        return f"{self.url}/api/v1"  # EDIT 3: the start of all paths of the API

    @property
    def api_auth(self) -> HttpAuth:
        return BearerAuth(
            self.token
        )  # EDIT 4: how requests are authorized (also BasicAuth, HeaderAuth)
