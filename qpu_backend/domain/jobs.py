"""The life of a job, as a table. Finer stages (admitted, planned, executed, settled …) are events, not states.

          cancel                       complete ┌──────┐
   ┌────────────────┐              ┌───────────►│ done │
   │                │              │            └──────┘
┌──┴─────┐  start   │   ┌─────────┐│  fail      ┌────────┐
│ queued ├──────────┼──►│ running ├┼───────────►│ failed │◄── fail (queued: it fits nowhere any more)
└──▲─────┘          │   └─┬───────┘│            └────────┘
   │                │     │        │  cancel    ┌───────────┐
   └─ retry, continue ────┘        └───────────►│ cancelled │
                    │                           │           │
                    └──────────────────────────►└───────────┘
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from qpu_backend.domain.errors import IllegalTransition


class JobState(StrEnum):
    """Where a job is. The values are stored and sent."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in FINAL_STATES


class Transition(StrEnum):
    """What can happen to a job."""

    START = "start"
    COMPLETE = "complete"
    FAIL = "fail"
    CANCEL = "cancel"
    RETRY = "retry"
    CONTINUE = "continue"


FINAL_STATES: Final = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})

TRANSITIONS: Final[dict[tuple[JobState, Transition], JobState]] = {
    # it became part of a committed batch
    (JobState.QUEUED, Transition.START): JobState.RUNNING,
    # nothing ran, nothing is billed; or some of its legs did, and their shots are billed
    (JobState.QUEUED, Transition.CANCEL): JobState.CANCELLED,
    # since it was admitted the device has lost every place where it fits; nothing is billed
    (JobState.QUEUED, Transition.FAIL): JobState.FAILED,
    # result, usage and postings are in the same transaction
    (JobState.RUNNING, Transition.COMPLETE): JobState.DONE,
    # it keeps failing alone, by its own fault or ours; nothing is billed
    (JobState.RUNNING, Transition.FAIL): JobState.FAILED,
    # asked for while it ran: the batch was not cut, the result is discarded, the shots that ran are billed
    (JobState.RUNNING, Transition.CANCEL): JobState.CANCELLED,
    # its batch was dissolved after repeated failures: it goes back to its old place in the queue, to run alone
    (JobState.RUNNING, Transition.RETRY): JobState.QUEUED,
    # one of its legs has run: the next one queues, tagged anew, so that others have their turn in between
    (JobState.RUNNING, Transition.CONTINUE): JobState.QUEUED,
}
"""Everything that is allowed. A final state has no way out."""


def advance(state: JobState, transition: Transition) -> JobState:
    """The state after ``transition``.

    Raises:
        IllegalTransition: the table has no such line.
    """
    try:
        return TRANSITIONS[state, transition]
    except KeyError:
        raise IllegalTransition(state=state.value, asked=transition.value) from None
