"""Reconciling: every book compared with every other one at one moment, without holding anybody up."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qpu_backend.stores import reconciliation
from qpu_backend.telemetry.logs import logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qpu_backend.domain.reconciliation import Difference, Finding
    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.stores.database import Database
    from qpu_backend.telemetry.metrics import Metrics

KEPT_OF_A_KIND: Final = 20
KEPT: Final = 100
"""Findings that a report names; it counts all of them."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a reconciliation found.

    Attributes:
        at_us: the moment that was looked at, wall time.
        compared: how many rows there were, by table.
        counts: how many findings, by kind; nothing for a kind without any.
        findings: the first of each kind.
    """

    at_us: int
    compared: Mapping[str, int]
    counts: Mapping[Difference, int]
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        return not self.counts


class Reconciling:
    """Reconciles the books and remembers what came of it last. Safe to call from many threads."""

    def __init__(
        self, database: Database, scope: SystemScope, clock: WallClock, metrics: Metrics | None = None
    ) -> None:
        self._database = database
        self._scope = scope
        self._clock = clock
        self._metrics = metrics
        self._last: Report | None = None
        self._one_at_a_time = threading.Lock()
        self._log = logger("reconciling")

    @property
    def last(self) -> Report | None:
        """The last report that this process made."""
        return self._last

    def reconcile(self) -> Report:
        """Compare everything as it is now; one comparison at a time."""
        with self._one_at_a_time:
            report = self._compare()
            self._last = report
        if self._metrics is not None:
            self._metrics.reconcile_findings.set(sum(report.counts.values()))
        tell = self._log.info if report.clean else self._log.error
        tell("books_reconciled", clean=report.clean, **{kind.value: number for kind, number in report.counts.items()})
        return report

    def _compare(self) -> Report:
        counts: Counter[Difference] = Counter()
        kept: list[Finding] = []
        now_us = self._clock.now_us()
        with self._database.read() as connection:
            compared = reconciliation.compared(connection, self._scope)
            for finding in reconciliation.findings(connection, self._scope):
                counts[finding.kind] += 1
                if counts[finding.kind] <= KEPT_OF_A_KIND and len(kept) < KEPT:
                    kept.append(finding)
        return Report(now_us, compared, dict(counts), tuple(kept))
