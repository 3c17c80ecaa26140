"""Sessions and a principal's own quota of money: its session ends when it has no more, its colleague's goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from holding import DEVICE, closed, opened, row_of

from qpu_backend.bootstrap import SYSTEM
from qpu_backend.domain.errors import QuotaExceeded
from qpu_backend.domain.quota import Resource, Window
from qpu_backend.domain.tenancy import Role
from qpu_backend.stores import access, quota

SPEND = Resource.SPEND_MICRO


def test_a_session_ends_when_its_principal_has_no_money_left_and_its_colleagues_does_not(lab, make):
    scope, other = lab.tenant(), lab.tenant()
    with lab.database.write() as connection:
        row = access.create_principal(
            connection, SYSTEM, tenant_id=scope.tenant_id, name="bob", role=Role.MEMBER, now_us=0
        )
        quota.set_limit(
            connection,
            SYSTEM,
            tenant_id=scope.tenant_id,
            resource=SPEND,
            window=Window.MONTH,
            amount=500_000,
            principal_id=scope.principal_id,
        )
    colleague = replace(scope, principal_id=row.id)
    session_id, others_id = opened(lab, scope), opened(lab, colleague)
    (mine,) = lab.ended(lab.submit(scope, make.sample(make.ghz(), shots=10, session=session_id)))
    lab.ended(lab.submit(colleague, make.sample(make.ghz(), shots=10, session=others_id)))
    for _ in range(20):
        lab.ended(lab.submit(other, make.sample(make.ghz(), shots=400)))
        lab.service.door.sessions.expire(DEVICE)
        end = row_of(lab, scope, session_id)
        if end.closed_at_us is not None:
            break
    assert end.price_micro > 500_000 - mine.price_micro
    assert lab.windows(scope) == [("spend_micro", 0, mine.price_micro + end.price_micro)]
    with pytest.raises(QuotaExceeded, match="your own 500000"):
        opened(lab, scope)
    assert row_of(lab, colleague, others_id).closed_at_us is None
    closed(lab, colleague, others_id)
    assert lab.windows(scope) == [("spend_micro", 0, mine.price_micro + end.price_micro)]
    lab.check_books()
