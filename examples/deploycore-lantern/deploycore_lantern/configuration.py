"""Configuration of Lantern: a client's ID and secret, for tokens that last five minutes."""

from deploycore.configuration import HttpsAddress, ProviderConfig, TokenStr
from deploycore.http.grants import client_credentials
from deploycore.tokens import RenewableAuth
from pydantic import Field

__all__ = ["READ_SCOPE", "LanternConfig"]

READ_SCOPE = "code:read"


class LanternConfig(ProviderConfig):
    """One client of Lantern."""

    url: HttpsAddress = Field(default="https://lantern.example", description="address of Lantern")
    team: str = Field(min_length=1, description="team whose projects to list")
    client_id: str = Field(min_length=1, description="ID of the client")
    client_secret: TokenStr = Field(description=f"secret of a client with the scope {READ_SCOPE}")

    @property
    def api_base_url(self) -> str:
        return f"{self.url}/api"

    @property
    def api_auth(self) -> RenewableAuth:
        return RenewableAuth(client_credentials("token", self.client_id, self.client_secret))
