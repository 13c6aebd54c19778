"""Mask secrets in everything that leaves the process: errors, logs, the output of steps.

This is the last protection: code should not put a secret into text in the first place.
"""

from deploycore.redaction.redactor import Redactor, secrets_in
from deploycore.redaction.stream import MASK, StreamRedactor

__all__ = ["MASK", "Redactor", "StreamRedactor", "secrets_in"]
