"""What can differ between the batch log, usage records, postings, quotas and invoices: each kind has a name.

Every one of them is an alert. None is corrected by what finds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Difference(StrEnum):
    """Kinds of differences. The values are sent."""

    UNMETERED_JOB = "unmetered_job"
    DOUBLE_CHARGE = "double_charge"
    USAGE_WITHOUT_JOB = "usage_without_job"
    USAGE_OF_UNFINISHED_JOB = "usage_of_unfinished_job"
    USAGE_WITHOUT_RUN = "usage_without_run"
    OUTCOME_DIFFERS = "outcome_differs"
    SHOTS_DIFFER = "shots_differ"
    DEVICE_TIME_DIFFERS = "device_time_differs"
    LEG_RAN_TWICE = "leg_ran_twice"
    RUNNING_WITHOUT_BATCH = "running_without_batch"
    UNKNOWN_PRICE_BOOK = "unknown_price_book"
    MISPRICED_USAGE = "mispriced_usage"
    MISPOSTED_USAGE = "misposted_usage"
    MISPRICED_SESSION = "mispriced_session"
    MISPOSTED_SESSION = "misposted_session"
    MISPOSTED_REFUND = "misposted_refund"
    POSTING_WITHOUT_FACT = "posting_without_fact"
    UNBALANCED_TRANSACTION = "unbalanced_transaction"
    TRIAL_BALANCE = "trial_balance"
    QUOTA_RESERVED = "quota_reserved"
    QUOTA_SPENT = "quota_spent"
    INVOICE_TOTAL = "invoice_total"
    INVOICE_LINE_DIFFERS = "invoice_line_differs"
    INVOICE_MISSES_RECORD = "invoice_misses_record"
    RECORD_NOT_INVOICED = "record_not_invoiced"
    MISPOSTED_ALLOWANCE = "misposted_allowance"


MEANINGS: Final[dict[Difference, str]] = {
    Difference.UNMETERED_JOB: "a job has ended and has no usage record",
    Difference.DOUBLE_CHARGE: "a job has more than one usage record",
    Difference.USAGE_WITHOUT_JOB: "a usage record names a job that is not there",
    Difference.USAGE_OF_UNFINISHED_JOB: "a usage record is of a job that waits or runs",
    Difference.USAGE_WITHOUT_RUN: "a usage record has shots, and no batch that was done held its job",
    Difference.OUTCOME_DIFFERS: "a usage record says otherwise how its job ended",
    Difference.SHOTS_DIFFER: "a usage record has other shots than ran",
    Difference.DEVICE_TIME_DIFFERS: "a usage record has other device time than its job took",
    Difference.LEG_RAN_TWICE: "a leg of a job is in more than one batch that was done",
    Difference.RUNNING_WITHOUT_BATCH: "a job is running, and no running batch holds it",
    Difference.UNKNOWN_PRICE_BOOK: "a usage record or a session was priced by a book that is not there",
    Difference.MISPRICED_USAGE: "a usage record has another price than its job",
    Difference.MISPOSTED_USAGE: "a tenant was charged something else than the price of a usage record",
    Difference.MISPRICED_SESSION: "a session has another price than what it held costs",
    Difference.MISPOSTED_SESSION: "a tenant was charged something else than the price of a session",
    Difference.MISPOSTED_REFUND: "a refund gives back something else than was charged",
    Difference.POSTING_WITHOUT_FACT: "a transaction was posted, and nothing happened that would have caused it",
    Difference.UNBALANCED_TRANSACTION: "the postings of a transaction do not sum to zero",
    Difference.TRIAL_BALANCE: "all postings together do not sum to zero",
    Difference.QUOTA_RESERVED: "a quota window reserves something else than the jobs that wait or run",
    Difference.QUOTA_SPENT: "a quota window has spent something else than the usage records say",
    Difference.INVOICE_TOTAL: "an invoice has other sums than its lines",
    Difference.INVOICE_LINE_DIFFERS: "a line of an invoice is not the sum of its records",
    Difference.INVOICE_MISSES_RECORD: "there are more records to a line of an invoice than it counts",
    Difference.RECORD_NOT_INVOICED: "a record of an invoiced month is in no line",
    Difference.MISPOSTED_ALLOWANCE: "a tenant was left something else than the allowance of its invoice",
}
"""What each kind says, for people."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference.

    Attributes:
        subject: id of what differs; ``invoice/number`` for a line, ``resource window start`` for a quota window.
        tenant_id: whose it is; ``None``: nobody's alone.
        unit: of the amounts: ``micro``, ``shots``, ``us``, ``records``; empty where the fact itself is the finding.
        expected: what the other books say.
        found: what this one says.
    """

    kind: Difference
    subject: str
    tenant_id: str | None = None
    unit: str = ""
    expected: int = 0
    found: int = 0

    @property
    def sentence(self) -> str:
        """For people."""
        amounts = f": {self.found} instead of {self.expected} {self.unit}" if self.unit else ""
        return f"{MEANINGS[self.kind]}: {self.subject}{amounts}"
