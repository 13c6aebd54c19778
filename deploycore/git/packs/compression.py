"""Decompression and checksums, by zlib-ng if it is installed, else by zlib.

Unpacking takes a third of the time of a fetch, and zlib-ng needs two thirds of zlib's time for it.
Both have the same functions. Only the classes of their errors differ.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zlib import crc32, decompressobj, error
else:
    try:
        from zlib_ng.zlib_ng import crc32, decompressobj, error
    except ImportError:  # there is no wheel for this platform
        from zlib import crc32, decompressobj, error

__all__ = ["DECOMPRESSION_ERRORS", "crc32", "decompressobj"]

DECOMPRESSION_ERRORS = (zlib.error, error)
"""The exceptions that these functions and dulwich's raise for damaged data."""
