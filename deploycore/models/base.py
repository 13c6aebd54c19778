"""The base class of the models, and the types that several of them use."""

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["CommitHash", "HostId", "Limit", "Model", "NonEmpty", "is_commit_hash"]

NonEmpty = Annotated[str, Field(min_length=1)]
"""A string that is not empty."""

CommitHash = Annotated[str, Field(pattern=r"^[0-9a-f]{40}(?:[0-9a-f]{24})?$")]
"""The full hash of a commit in lower case: 40 hexadecimal digits (SHA-1) or 64 (SHA-256)."""

HostId = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,255}$")]
"""A git host's identifier of an object: 1 to 255 printable ASCII characters without spaces."""

Limit = Annotated[int, Field(ge=1)]


def is_commit_hash(text: str) -> bool:
    """Whether a text has the form of a full commit hash, unlike names of most branches and tags."""
    return re.fullmatch("[0-9a-f]{40}(?:[0-9a-f]{24})?", text) is not None


class Model(BaseModel):
    """The base of all models. It is frozen and rejects unknown fields, such as misspelled ones."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True
    )
