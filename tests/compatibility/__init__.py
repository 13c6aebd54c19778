"""Plugins of other releases, on this deploycore."""

from __future__ import annotations

from pathlib import Path

__all__ = ["HERE"]

HERE = Path(__file__).parent
