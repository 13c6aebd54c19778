"""Acme as a deploycore provider."""

from deploycore_acme.provider import AcmeProvider

__all__ = ["AcmeProvider"]
