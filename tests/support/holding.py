"""Sessions as the tests of the pipeline handle them: opened, closed, looked at, planned again from what was stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qpu_backend.bootstrap import SYSTEM
from qpu_backend.domain.planning import Plan
from qpu_backend.pipeline.plans import Plans
from qpu_backend.stores import fairness, sessions
from qpu_sdk.wire.sessions import SessionRequest

if TYPE_CHECKING:
    from qpu_backend.domain.tenancy import TenantScope
    from qpu_backend.stores.sessions import SessionRow

LINE = "eagle127:line-5"
DEVICE = "eagle127"


def opened(lab: Any, scope: TenantScope, backend: str = LINE, key: str | None = None, **asked: Any) -> str:
    """The id of a session that has just been opened."""
    return lab.service.door.sessions.open(scope, SessionRequest(backend=backend, **asked), key).id


def closed(lab: Any, scope: TenantScope, session_id: str) -> SessionRow:
    return lab.service.door.sessions.close(scope, session_id)


def row_of(lab: Any, scope: TenantScope, session_id: str) -> SessionRow:
    with lab.database.read() as connection:
        row = sessions.get_session(connection, scope, session_id)
    assert row is not None
    return row


def placed(lab: Any, job_id: str) -> list[int]:
    """Where a job ran."""
    ran = lab.batches(job_id)[-1]
    return next(placement.region for placement in ran.placements if placement.job_id == job_id)


def plans(lab: Any, *job_ids: str) -> list[tuple[Any, Plan]]:
    """Each stored batch with the decision that follows from what was stored with it."""
    repeated = Plans(lab.database, SYSTEM, lab.service.door.fleet)
    found = []
    for ran in lab.batches(*job_ids):
        again = repeated.replay(ran.batch.id)
        assert again.differences == ()
        assert isinstance(again.decision, Plan)
        found.append((ran, again.decision))
    return found


def finish_tag(lab: Any, scope: TenantScope) -> int:
    with lab.database.read() as connection:
        return fairness.read_finish_tag(connection, scope, DEVICE, "standard")
