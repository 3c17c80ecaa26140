"""The documents of price books: what is in force, what is announced, and what an operator publishes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, ConfigDict, Field

from qpu_sdk.wire.models import MAX_INTEGER, RequestDocument, ResponseDocument, SmallText

Rate = Annotated[int, Field(ge=0, le=10**9)]
"""Micro-credits; at most a thousand credits, so that no job's price leaves the integers that databases store."""

Percent = Annotated[int, Field(ge=0, le=10_000)]


class PriceBookRequest(RequestDocument):
    """``POST /admin/prices``: rates that will be in force from a moment on."""

    model_config = ConfigDict(defer_build=False)  # a deferred one makes FastAPI warn

    name: SmallText
    valid_from: AwareDatetime
    per_shot_micro: Rate
    per_device_second_micro: Rate
    per_qubit_second_micro: Rate
    minimum_micro: Rate
    lane_percent: dict[SmallText, Percent] = Field(default={}, max_length=100)
    """What a lane multiplies by; 100 for one that is not named."""
    free_micro_per_month: int = Field(default=0, ge=0, le=MAX_INTEGER)
    """Of what a tenant is charged in a calendar month (UTC), given back on its invoice."""


class PriceBookDocument(ResponseDocument):
    """A price book. It never changes; a job keeps the one that it was priced with."""

    name: str
    valid_from: datetime
    per_shot_micro: int
    per_device_second_micro: int
    """For each second of the job's stand-alone device time."""
    per_qubit_second_micro: int
    """For each such second and qubit of its exclusive footprint; of a session, for what it held unused."""
    minimum_micro: int
    """Of any job, in any lane."""
    lane_percent: dict[str, int]
    free_micro_per_month: int


class PriceList(ResponseDocument):
    """``GET /prices``."""

    current: PriceBookDocument
    announced: list[PriceBookDocument]
    """Published for later, in the order in which they come into force."""
