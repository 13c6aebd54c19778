"""Quay as a deploycore provider."""

from deploycore_quay.provider import QuayProvider

__all__ = ["QuayProvider"]
