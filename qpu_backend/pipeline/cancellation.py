"""Cancellation: a queued job ends free; a running batch is never cut, its result is discarded, its shots billed.

A job between two of its legs ends at once, billed for the shots of those that have run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpu_backend.domain.errors import IllegalTransition, NotFound
from qpu_backend.domain.jobs import JobState
from qpu_backend.pipeline.endings import end_cancelled
from qpu_backend.stores import events, job_states, jobs
from qpu_backend.stores.job_states import CancelOutcome

if TYPE_CHECKING:
    from qpu_backend.domain.tenancy import SystemScope, TenantScope
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.pipeline.notices import NoticeBoard
    from qpu_backend.stores.database import Database
    from qpu_backend.stores.jobs import JobRow


class Cancellation:
    """Cancels jobs for tenants."""

    def __init__(self, database: Database, scope: SystemScope, notices: NoticeBoard, clock: WallClock) -> None:
        self._database = database
        self._scope = scope
        self._notices = notices
        self._clock = clock

    def cancel(self, scope: TenantScope, job_id: str) -> JobRow:
        """Cancel a job of the caller's tenant; cancelling twice is cancelling once.

        Raises:
            NotFound: the tenant has no such job.
            IllegalTransition: the job has already ended otherwise.
        """
        now_us = self._clock.now_us()
        with self._database.write() as connection:
            asked = job_states.request_cancel(connection, scope, job_id, now_us=now_us)
            if asked is None:
                raise NotFound("job", job_id)
            match asked.outcome:
                case CancelOutcome.CANCELLED:
                    end_cancelled(connection, self._scope, [asked.job], "cancelled before it ran", now_us)
                case CancelOutcome.REQUESTED if not asked.job.cancel_requested:
                    message = "its result will be discarded when the batch ends"
                    noted = events.NewEvent(
                        job_id, scope.tenant_id, "cancel_requested", JobState.RUNNING, now_us, None, message
                    )
                    events.append_events(connection, scope, [noted])
                case CancelOutcome.TOO_LATE if asked.job.state != JobState.CANCELLED:
                    raise IllegalTransition(state=asked.job.state, asked="cancel")
                case _:
                    pass  # asked before
            row = jobs.get_job(connection, scope, job_id) or asked.job
        self._notices.ended([(row.tenant_id, row.id)])
        return row
