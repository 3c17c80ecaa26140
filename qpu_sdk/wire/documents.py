"""What every document of the API is: a frozen pydantic model, and the types of field that several of them have."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

SmallText = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A name or a tag: without control characters, which not every database stores."""

MAX_INTEGER = 2**63 - 1
"""The largest integer that every database stores."""


class RequestDocument(BaseModel):
    """What a client sends: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class ResponseDocument(BaseModel):
    """What the service answers: unknown fields, of a later version, are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)
