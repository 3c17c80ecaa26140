"""The shapes of a client's pubs, kept with a job for whoever fetches its result later."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from qpu_sdk.wire.documents import MAX_INTEGER, RequestDocument

MAX_EXPANDED = 4096
"""Entries of :attr:`PubShape.expand`; a pub that needs more is sent without its shape."""

Count = Annotated[int, Field(ge=0, le=MAX_INTEGER)]


class PubShape(RequestDocument):
    """How a pub of the client became pubs of the request; the service does not look into it."""

    shape: list[Count] = Field(max_length=32)
    """The pub's broadcast shape."""
    copies: int = Field(default=1, ge=1, le=MAX_INTEGER)
    """How many pubs on the wire it became: a shape without parameters repeats its circuit."""
    expand: list[Count] | None = Field(default=None, max_length=MAX_EXPANDED)
    """Estimator: for each entry of the shape, in C order, its place in the answer; ``None`` for as it is."""
