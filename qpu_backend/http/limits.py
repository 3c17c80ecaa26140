"""What limits a tenant or a principal, for who sets it: as it is asked for, and as it is shown."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from qpu_backend.domain.policies import LISTS
from qpu_backend.domain.quota import Resource, Window
from qpu_backend.pipeline.limiting import NewLimits, NewQuota
from qpu_sdk.wire.principals import PolicyDocument, PrincipalQuota

if TYPE_CHECKING:
    from qpu_backend.domain.policies import Policy
    from qpu_backend.domain.quota import Line
    from qpu_sdk.wire.administration import TenantChange
    from qpu_sdk.wire.principals import PrincipalChange


def limits_of(order: PrincipalChange | TenantChange) -> NewLimits:
    """Limits as a request names them; what is not sent stays as it is."""
    sent = {} if order.policy is None else order.policy.model_dump(exclude_unset=True)
    lists = {name: tuple(sent[name]) for name in LISTS if sent.get(name) is not None}
    quotas = (NewQuota(Resource(q.resource), Window(q.window), q.amount, q.burst) for q in order.quotas)
    return NewLimits(tuple(quotas), sent | lists)


def policy_document(policy: Policy) -> PolicyDocument:
    """A policy as whom it limits sees it."""
    return PolicyDocument.model_validate(asdict(policy))


def quota_document(line: Line) -> PrincipalQuota:
    """A quota in the window of now."""
    return PrincipalQuota(
        resource=line.resource.value,
        window=line.window.value,
        amount=line.amount,
        burst=line.burst,
        reserved=line.reserved,
        spent=line.spent,
        free=line.free,
    )
