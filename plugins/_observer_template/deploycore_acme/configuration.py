"""Acme's settings in ``settings.yaml``."""

from deploycore.configuration import HttpsAddress, ObserverConfig, TokenStr
from deploycore.events import DeploymentState

__all__ = ["AcmeConfig"]


class AcmeConfig(ObserverConfig):
    """The settings of the observer.

    Attributes:
        url: The address that receives the messages.
        token: A secret: the file has ``env:NAME`` or ``file:/absolute/path`` for it.
        states: The final states to send.
    """

    # EDIT 1: the values that the user enters; the type of a secret is SecretStr or TokenStr
    url: HttpsAddress
    token: TokenStr
    states: tuple[DeploymentState, ...] = ("failed", "rolled_back")
