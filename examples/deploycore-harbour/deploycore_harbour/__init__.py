"""Harbour as a deploycore provider."""

from deploycore_harbour.provider import HarbourProvider

__all__ = ["HarbourProvider"]
