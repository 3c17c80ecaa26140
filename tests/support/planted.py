"""Falsified books: each plant with the differences it must be found as, and the statements that make it.

Eve's work is in a month without an invoice and under no limits, so one falsified row of hers differs in one way only.
"""
# ruff: noqa: S608 - what is put into these statements is this file's own

from __future__ import annotations

from typing import Final

from qpu_backend.domain.reconciliation import Difference

TWICE: Final = "usage records may name a job twice"
RECORD: Final = "(SELECT id FROM usage_records WHERE job_id = :{})"
PRICE: Final = "(SELECT price_micro FROM usage_records WHERE job_id = :done)"
REVENUE: Final = "UPDATE postings SET amount_micro = amount_micro {} WHERE account = 'revenue' AND transaction_id = {}"
TEN_MORE: Final = (
    "UPDATE postings SET amount_micro = amount_micro + CASE WHEN account = 'revenue' OR account = 'allowance' THEN 10 "
    "ELSE -10 END WHERE transaction_id = {}"
)
POST: Final = (
    "INSERT INTO postings (transaction_id, account, tenant_id, amount_micro, posted_at_us) "
    "SELECT {id}, {account}, tenant_id, {sign} price_micro, recorded_at_us FROM usage_records WHERE job_id = :done"
)
COPY: Final = (
    "INSERT INTO usage_records (id, tenant_id, principal_id, job_id, batch_id, device_id, snapshot_id, recorded_at_us, "
    "outcome, shots, device_us, footprint_qubits, simulator_cpu_us, result_bytes, price_book, price_micro, tags, lane) "
    "SELECT 'use_planted', tenant_id, principal_id, {job}, batch_id, device_id, snapshot_id, recorded_at_us, "
    "outcome, shots, device_us, footprint_qubits, 0, 0, price_book, price_micro, tags, lane "
    "FROM usage_records WHERE job_id = :{of}"
)
INVOICE: Final = "(SELECT id FROM invoices WHERE tenant_id = :ada)"
LINE: Final = "UPDATE invoice_lines SET {} WHERE kind = 'jobs' AND lane = 'batch' AND invoice_id = " + INVOICE
OF_ADA: Final = "tenant_id = :ada AND resource = '{}'"


def charged(name: str, sign: str = "") -> list[str]:
    """Both postings of a charge like that of eve's job."""
    return [
        POST.format(id=f"'{name}'", account=":eves", sign="-" if not sign else ""),
        POST.format(id=f"'{name}'", account="'revenue'", sign=sign),
    ]


PLANTS: Final[list[tuple[str, set[Difference], list[str]]]] = [
    (
        "a job is not metered",
        {Difference.UNMETERED_JOB},
        [
            f"DELETE FROM postings WHERE transaction_id = {RECORD.format('done')}",
            "DELETE FROM usage_records WHERE job_id = :done",
        ],
    ),
    (
        "a job is metered and charged twice",
        {Difference.DOUBLE_CHARGE},
        [TWICE, *charged("use_planted"), COPY.format(job="job_id", of="done")],
    ),
    ("usage of no job", {Difference.USAGE_WITHOUT_JOB}, [COPY.format(job="'job_none'", of="cancelled")]),
    ("usage of a job that waits", {Difference.USAGE_OF_UNFINISHED_JOB}, [COPY.format(job=":waiting", of="cancelled")]),
    (
        "shots that no batch ran",
        {Difference.USAGE_WITHOUT_RUN},
        ["UPDATE usage_records SET shots = 5 WHERE job_id = :cancelled"],
    ),
    (
        "shots of a job that failed",
        {Difference.USAGE_WITHOUT_RUN},
        ["UPDATE usage_records SET shots = 5 WHERE job_id = :failed"],
    ),
    (
        "another end",
        {Difference.OUTCOME_DIFFERS},
        ["UPDATE usage_records SET outcome = 'cancelled' WHERE job_id = :failed"],
    ),
    *(
        (f"{change} of {job}", {kind}, [f"UPDATE usage_records SET {change} WHERE job_id = :{job}"])
        for job in ("done", "whole", "partial")
        for change, kind in (
            ("shots = shots + 1", Difference.SHOTS_DIFFER),
            ("device_us = device_us - 1", Difference.DEVICE_TIME_DIFFERS),
        )
    ),
    *(
        (f"no shots of {job}", {Difference.SHOTS_DIFFER}, [f"UPDATE usage_records SET shots = 0 WHERE job_id = :{job}"])
        for job in ("done", "partial")
    ),
    (
        "a leg of a job that is done was not run",
        {Difference.SHOTS_DIFFER, Difference.DEVICE_TIME_DIFFERS, Difference.MISPRICED_USAGE},
        ["DELETE FROM placements WHERE job_id = :whole AND leg = 1"],
    ),
    (
        "a leg ran twice",
        {Difference.LEG_RAN_TWICE},
        [
            "INSERT INTO placements SELECT batch_id, :done, tenant_id, position, 0, region, co_tenants, \
crosstalk_loss, fairness_cost, record_sha, part_sha FROM placements WHERE job_id = :whole AND leg = 2"
        ],
    ),
    (
        "a job runs nowhere",
        {Difference.RUNNING_WITHOUT_BATCH},
        ["UPDATE jobs SET state = 'running' WHERE id = :waiting"],
    ),
    (
        "a book that is not there",
        {Difference.UNKNOWN_PRICE_BOOK},
        ["UPDATE usage_records SET price_book = 'none' WHERE job_id = :partial"],
    ),
    (
        "a session under a book that is not there",
        {Difference.UNKNOWN_PRICE_BOOK},
        ["UPDATE sessions SET price_book = 'none' WHERE id = :session"],
    ),
    *(
        (
            f"another price of {job}",
            {Difference.MISPRICED_USAGE},
            [
                f"UPDATE usage_records SET price_micro = price_micro + 10 WHERE job_id = :{job}",
                TEN_MORE.format(RECORD.format(job)),
            ],
        )
        for job in ("done", "whole", "partial")
    ),
    (
        "a job that failed is not free",
        {Difference.MISPRICED_USAGE},
        [
            f"UPDATE usage_records SET price_micro = {PRICE} WHERE job_id = :failed",
            *(each.replace("'planted'", RECORD.format("failed")) for each in charged("planted")),
        ],
    ),
    ("another charge", {Difference.MISPOSTED_USAGE}, [TEN_MORE.format(RECORD.format("done"))]),
    (
        "no charge",
        {Difference.MISPOSTED_USAGE},
        [f"DELETE FROM postings WHERE transaction_id = {RECORD.format('done')}"],
    ),
    (
        "another price of a session",
        {Difference.MISPRICED_SESSION},
        ["UPDATE sessions SET price_micro = price_micro + 10 WHERE id = :session", TEN_MORE.format(":session")],
    ),
    ("another charge for a session", {Difference.MISPOSTED_SESSION}, [TEN_MORE.format(":session")]),
    (
        "another refund",
        {Difference.MISPOSTED_REFUND},
        [TEN_MORE.format("'refund\\:' || " + RECORD.format("given_back"))],
    ),
    ("a charge for nothing", {Difference.POSTING_WITHOUT_FACT}, charged("use_none")),
    ("a refund of nothing", {Difference.POSTING_WITHOUT_FACT}, charged("refund\\:use_none", "-")),
    (
        "more revenue than was paid",
        {Difference.UNBALANCED_TRANSACTION, Difference.TRIAL_BALANCE},
        [
            REVENUE.format("+ 7", RECORD.format("done")),
        ],
    ),
    (
        "two mistakes that hide each other in the sum",
        {Difference.UNBALANCED_TRANSACTION},
        [REVENUE.format(change, RECORD.format(job)) for job, change in (("done", "+ 7"), ("whole", "- 7"))],
    ),
    (
        "more is reserved than the queue needs",
        {Difference.QUOTA_RESERVED},
        [f"UPDATE quota_windows SET reserved = reserved + 1 WHERE reserved > 0 AND {OF_ADA.format('shots')}"],
    ),
    (
        "a window with reservations is gone",
        {Difference.QUOTA_RESERVED},
        [f"DELETE FROM quota_windows WHERE reserved > 0 AND {OF_ADA.format('shots')}"],
    ),
    (
        "more shots are spent than were used",
        {Difference.QUOTA_SPENT},
        [f"UPDATE quota_windows SET spent = spent + 1 WHERE spent > 0 AND {OF_ADA.format('shots')}"],
    ),
    (
        "less money is spent than was charged",
        {Difference.QUOTA_SPENT},
        [f"UPDATE quota_windows SET spent = 0 WHERE spent > 0 AND {OF_ADA.format('spend_micro')}"],
    ),
    (
        "another total",
        {Difference.INVOICE_TOTAL},
        ["UPDATE invoices SET total_micro = total_micro + 1 WHERE tenant_id = :ada"],
    ),
    (
        "a line less",
        {Difference.INVOICE_TOTAL, Difference.RECORD_NOT_INVOICED},
        [f"DELETE FROM invoice_lines WHERE kind = 'jobs' AND lane = 'batch' AND invoice_id = {INVOICE}"],
    ),
    *(
        (f"{change} in a line", {Difference.INVOICE_LINE_DIFFERS}, [LINE.format(change)])
        for change in ("shots = shots + 1", "device_us = device_us - 1", "records = records + 1")
    ),
    (
        "another amount in a line, and in all sums",
        {Difference.INVOICE_LINE_DIFFERS},
        [
            LINE.format("amount_micro = amount_micro + 1"),
            "UPDATE invoices SET charged_micro = charged_micro + 1 WHERE tenant_id = :ada",
            "UPDATE invoices SET total_micro = total_micro + 1 WHERE tenant_id = :ada",
        ],
    ),
    ("a record less in a line", {Difference.INVOICE_MISSES_RECORD}, [LINE.format("records = records - 1")]),
    (
        "a late record of a line",
        {Difference.INVOICE_MISSES_RECORD},
        ["UPDATE usage_records SET recorded_at_us = :within WHERE job_id = :late"],
    ),
    (
        "a late record that has no line",
        {Difference.RECORD_NOT_INVOICED},
        ["UPDATE usage_records SET recorded_at_us = :within WHERE job_id = :done"],
    ),
    (
        "a late end of a session",
        {Difference.RECORD_NOT_INVOICED},
        ["UPDATE sessions SET closed_at_us = :within WHERE id = :session"],
    ),
    *(
        (
            f"of an allowance {change} 10 are taken back with a refund",
            {Difference.MISPOSTED_ALLOWANCE},
            [
                f"UPDATE postings SET amount_micro = amount_micro {change} CASE account WHEN 'allowance' THEN 10 \
WHEN 'revenue' THEN 0 ELSE -10 END WHERE transaction_id = :freed"
            ],
        )
        for change in "+-"
    ),
    (
        "an allowance is taken back that nobody gave",
        {Difference.MISPOSTED_ALLOWANCE},
        [
            "INSERT INTO postings (transaction_id, account, tenant_id, amount_micro, posted_at_us) SELECT "
            "transaction_id, 'allowance', tenant_id, 10, posted_at_us FROM postings WHERE account = 'revenue' "
            "AND transaction_id = 'refund\\:' || " + RECORD.format("given_back"),
            "UPDATE postings SET amount_micro = amount_micro - 10 WHERE account = :eves "
            "AND transaction_id = 'refund\\:' || " + RECORD.format("given_back"),
        ],
    ),
    ("another allowance", {Difference.MISPOSTED_ALLOWANCE}, [TEN_MORE.format(INVOICE)]),
    ("no allowance", {Difference.MISPOSTED_ALLOWANCE}, [f"DELETE FROM postings WHERE transaction_id = {INVOICE}"]),
]
