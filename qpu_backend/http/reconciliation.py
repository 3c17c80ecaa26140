"""Reconciliation: the books compared now, or what came of it last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter

from qpu_backend.http.auth import KeepBooks  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.documents import wall
from qpu_backend.http.door import AtDoor  # noqa: TC001
from qpu_sdk.wire.reconciliation import FindingDocument, ReconciliationReport

if TYPE_CHECKING:
    from qpu_backend.pipeline.reconciling import Report

router = APIRouter(prefix="/admin/reconciliation", tags=["administration"])


@router.post("")
def reconcile(door: AtDoor, _scope: KeepBooks) -> ReconciliationReport:
    """Compare the batch log, jobs, usage, postings, quotas and invoices as they are now."""
    return reconciliation_report(door.reconciling.reconcile())


@router.get("")
def last(door: AtDoor, _scope: KeepBooks) -> ReconciliationReport:
    """What came of the last comparison that this process made; the first one, where it made none yet."""
    return reconciliation_report(door.reconciling.last or door.reconciling.reconcile())


def reconciliation_report(report: Report) -> ReconciliationReport:
    """A report as it is sent, and printed by the command line."""
    return ReconciliationReport(
        at=wall(report.at_us),
        clean=report.clean,
        compared=dict(report.compared),
        counts={kind.value: number for kind, number in report.counts.items()},
        findings=[
            FindingDocument(
                kind=one.kind.value,
                subject=one.subject,
                tenant_id=one.tenant_id,
                unit=one.unit,
                expected=one.expected,
                found=one.found,
                sentence=one.sentence,
            )
            for one in report.findings
        ],
    )
