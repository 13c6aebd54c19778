"""Lantern as a deploycore provider."""

from deploycore_lantern.provider import LanternProvider

__all__ = ["LanternProvider"]
