"""The documents of principals and keys: who may log in for a tenant, as what, and how much of it each may use."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field

from qpu_sdk.wire.models import MAX_INTEGER, Limits, RequestDocument, ResponseDocument, SmallText
from qpu_sdk.wire.usage import QuotaUsage

RoleName = Literal["member", "tenant_admin", "operator", "billing", "auditor"]
Amount = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Label = Annotated[str, Field(max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")]

MAX_GRACE_S = 30 * 86_400


# --- requests -----------------------------------------------------------------------------------------------------


class PrincipalRequest(RequestDocument):
    """``POST /principals``."""

    model_config = ConfigDict(defer_build=False)  # a deferred one makes FastAPI warn

    name: SmallText
    role: RoleName = "member"


class QuotaChange(RequestDocument):
    """One limit of a principal, in every window of a kind."""

    resource: Literal["shots", "device_us", "spend_micro"]
    window: Literal["hour", "day", "month"]
    amount: Amount | None
    """``None`` lifts the limit."""
    burst: Amount = 0
    """What one window may take over from the one before."""


def _each_once(quotas: list[QuotaChange]) -> list[QuotaChange]:
    if len({(quota.resource, quota.window) for quota in quotas}) < len(quotas):
        raise ValueError("a resource has one limit in a window: name each of them once")
    return quotas


QuotaChanges = Annotated[list[QuotaChange], Field(max_length=9), AfterValidator(_each_once)]
"""At most every resource in every window."""


class PolicyChange(RequestDocument):
    """Limits of a principal. A field that is not sent stays as it is; one that is ``null`` is lifted."""

    max_queued_jobs: int | None = None
    max_running_jobs: int | None = None
    max_circuits: int | None = None
    max_body_bytes: int | None = None
    submissions_per_minute: int | None = None
    burst: int | None = None
    lanes: list[str] | None = Field(default=None, max_length=100)
    isolation: list[str] | None = Field(default=None, max_length=100)
    slices: list[str] | None = Field(default=None, max_length=100)


class PrincipalChange(RequestDocument):
    """``PATCH /principals/{id}``: what is not sent stays as it is."""

    model_config = ConfigDict(defer_build=False)

    role: RoleName | None = None
    disabled: bool | None = None
    quotas: QuotaChanges = Field(default=[])
    policy: PolicyChange | None = None


class KeyRequest(RequestDocument):
    """``POST /principals/{id}/keys``."""

    model_config = ConfigDict(defer_build=False)

    label: Label = ""
    expires_at: AwareDatetime | None = None


class KeyRotation(RequestDocument):
    """``POST /keys/{id}/rotate``."""

    model_config = ConfigDict(defer_build=False)

    grace_s: float = Field(default=86_400, ge=0, le=MAX_GRACE_S, allow_inf_nan=False)
    """For how long the old key goes on to work; 0: it ends at once."""


# --- answers ------------------------------------------------------------------------------------------------------


class PrincipalQuota(ResponseDocument):
    """One limit of a principal."""

    resource: Literal["shots", "device_us", "spend_micro"]
    window: Literal["hour", "day", "month"]
    amount: int
    burst: int
    reserved: int
    spent: int
    free: int


class PolicyDocument(ResponseDocument):
    """What a principal may ask for; ``None`` is not limited."""

    max_queued_jobs: int | None = None
    max_running_jobs: int | None = None
    max_circuits: int | None = None
    max_body_bytes: int | None = None
    submissions_per_minute: int | None = None
    burst: int | None = None
    lanes: list[str] | None = None
    isolation: list[str] | None = None
    slices: list[str] | None = None


class PrincipalDocument(ResponseDocument):
    """A principal, in a list."""

    id: str
    name: str
    role: RoleName
    disabled: bool
    created_at: datetime


class PrincipalDetails(PrincipalDocument):
    """``GET /principals/{id}``: with its own limits, which stand beside those of the tenant as a whole."""

    quotas: list[PrincipalQuota]
    policy: PolicyDocument


class PrincipalPage(ResponseDocument):
    """``GET /principals``, oldest first."""

    principals: list[PrincipalDocument]
    next_cursor: str | None


class KeyDocument(ResponseDocument):
    """An API key, without the key."""

    id: str
    principal_id: str
    label: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    replaces: str | None = None
    """Id of the key in whose place it was made."""


class RevokedKey(KeyDocument):
    """``DELETE /keys/{id}``."""

    successors_revoked: list[str]
    """Keys that came of it by rotation and ended with it just now, oldest first."""


class NewKey(KeyDocument):
    """A key that was made just now."""

    key: str
    """Shown this once, and stored nowhere."""


class KeyPage(ResponseDocument):
    """The keys of a principal, newest first, those that have ended too."""

    keys: list[KeyDocument]
    next_cursor: str | None


class Me(ResponseDocument):
    """``GET /me``: who the key or token says is asking, and what that one may do."""

    tenant: str
    principal: str
    principal_id: str
    role: RoleName
    permissions: list[str]
    limits: Limits
    """Of every submission, whoever sends it."""
    quotas: list[QuotaUsage]
    policy: PolicyDocument
    """The principal's own; the tenant's applies too."""
