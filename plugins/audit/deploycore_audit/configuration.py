"""The settings of the audit log."""

from pathlib import Path
from typing import Annotated

from deploycore.configuration import ObserverConfig
from pydantic import Field, field_validator

__all__ = ["AuditConfig"]


class AuditConfig(ObserverConfig):
    """The settings in ``settings.yaml``, under ``observers`` and ``audit``.

    Attributes:
        path: The file; its directory is created if it does not exist.
        max_bytes: The size at which the file is rotated.
        keep: How many rotated files are kept.
    """

    path: Path
    max_bytes: Annotated[int, Field(ge=4096)] = 10 * 1024 * 1024
    keep: Annotated[int, Field(ge=1, le=10_000)] = 20

    @field_validator("path")
    @classmethod
    def _is_absolute(cls, path: Path) -> Path:
        if not path.is_absolute() or not path.name:
            raise ValueError("it is not an absolute path of a file")
        return path
