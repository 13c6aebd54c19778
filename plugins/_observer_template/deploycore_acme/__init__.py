"""Acme as a deploycore observer."""

from deploycore_acme.configuration import AcmeConfig
from deploycore_acme.observer import AcmeObserver

__all__ = ["AcmeConfig", "AcmeObserver"]
