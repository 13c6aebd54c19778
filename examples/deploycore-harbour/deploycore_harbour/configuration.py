"""Configuration of Harbour: forms and command-line options are made from its fields."""

from deploycore.configuration import HttpsAddress, ProviderConfig, TokenStr
from deploycore.http import HeaderAuth, HttpAuth
from pydantic import Field

__all__ = ["READ_PERMISSION", "HarbourConfig"]

READ_PERMISSION = "code:read"


class HarbourConfig(ProviderConfig):
    """One account of Harbour."""

    url: HttpsAddress = Field(default="https://harbour.example", description="address of Harbour")
    team: str = Field(min_length=1, description="team whose projects to list")
    key: TokenStr = Field(description=f"access key with the permission {READ_PERMISSION}")

    @property
    def api_base_url(self) -> str:
        return f"{self.url}/api"

    @property
    def api_auth(self) -> HttpAuth:
        return HeaderAuth("X-Harbour-Key", self.key)
