"""How long what belongs to jobs that have ended is kept: the rule, and the refusal that follows from it."""

from __future__ import annotations

from dataclasses import dataclass

from qpu_backend.domain.errors import DomainError


class ResultArchived(DomainError):
    """What is asked for was moved to the archive: the service does not hold it any more.

    Attributes:
        what: that was asked for.
    """

    code = "result_archived"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} was moved to the archive, as this service keeps it for a limited time; ask who runs the service"
        )
        self.what = what


@dataclass(frozen=True, slots=True)
class Retention:
    """How long after its end the database holds what belongs to a job; the job itself and its books stay for ever.

    Attributes:
        results_us: its result, program and execution records, wall time; ``None``: for ever.
        records_us: its execution records, which only replays need, where they go before the rest.
    """

    results_us: int | None = None
    records_us: int | None = None

    @property
    def limited(self) -> bool:
        """Whether anything is ever archived."""
        return self.results_us is not None or self.records_us is not None

    def results_of_before_us(self, now_us: int) -> int | None:
        """Of jobs that ended before this, everything is due to be archived; ``None``: of none."""
        return None if self.results_us is None else now_us - self.results_us

    def records_of_before_us(self, now_us: int) -> int | None:
        """Of jobs that ended before this, the execution records are; ``None``: of none."""
        return None if self.records_us is None else now_us - self.records_us
