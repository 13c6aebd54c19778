"""Masking secrets in what leaves the process: errors, logs, the output of steps.

The last line of defence: code should never put a secret into text in the first place.
"""

from deploycore.redaction.redactor import Redactor, secrets_in
from deploycore.redaction.stream import MASK, StreamRedactor

__all__ = ["MASK", "Redactor", "StreamRedactor", "secrets_in"]
