"""After everything has come to rest: what was lost, doubled, billed twice, or computed otherwise than it was seeded."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from qpu_backend.bootstrap import SYSTEM
from qpu_backend.domain.reconciliation import Difference
from qpu_backend.engines.protocol import decode_report, join_tasks
from qpu_backend.engines.worker import run_tasks
from qpu_backend.pipeline.execution import MemberOutcome
from qpu_backend.pipeline.parts import Part
from qpu_backend.pipeline.postprocessing import package
from qpu_backend.pipeline.recovery import load
from qpu_backend.stores import blobs, reconciliation, schema, schema_access, schema_money
from qpu_sdk.wire.results import ShotsOfPub, decode_result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crash_clients import Client
    from crash_house import House
    from sqlalchemy import Connection

FINAL = ("done", "failed", "cancelled")


@dataclass(slots=True)
class Verdict:
    """What is wrong, each with what it is wrong about; nothing, if the service keeps its word.

    Attributes:
        lost: accepted jobs that did not end as they should, or of which no result came to their client.
        duplicated: jobs that nobody knows of, second answers to a key, second ends, legs settled twice.
        billed_twice: jobs with another number of usage records than one, or of which more shots were billed than ran.
        wrong: results that their records do not give when they run again.
        left_over: quota that is still reserved, batches that still run.
        audit: what is wrong with the audit chain.
        reconcile_delta: sum of all differences between what was used and what was posted, micro-credits.
    """

    jobs: int = 0
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    billed_twice: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    audit: list[str] = field(default_factory=list)
    reconcile_delta: int = 0

    @property
    def complaints(self) -> list[str]:
        """All of it, as sentences."""
        named = [
            f"{name}: {what}"
            for name in ("lost", "duplicated", "billed_twice", "wrong", "left_over", "audit")
            for what in getattr(self, name)
        ]
        return named + ([f"reconcile_delta: {self.reconcile_delta}"] if self.reconcile_delta else [])


def judge(house: House, clients: Sequence[Client], *, credited_micro: int = 0) -> Verdict:
    """Compare what the clients know, what the service answers now, and what the tables say.

    Args:
        house: in which nothing waits or runs any more; the API still answers.
        clients: that have stopped.
        credited_micro: to tenants.
    """
    verdict = Verdict()
    delivered = _as_clients_see_it(clients, verdict)
    with house.database.read() as connection:
        rows = {row.id: row for row in connection.execute(select(schema.jobs))}
        verdict.jobs = len(rows)
        known = {asked.job_id for client in clients for asked in client.asked}
        verdict.duplicated += [f"{job_id} is nobody's" for job_id in rows.keys() - known]
        verdict.lost += [f"{job_id} is not there" for job_id in known - rows.keys()]
        _ends(connection, verdict, rows)
        ran = _computed_again(connection, verdict, rows, delivered)
        _books(connection, verdict, rows, ran)
        verdict.reconcile_delta = _reconciled(connection, verdict, credited_micro)
    verdict.audit += _audited(house)
    return verdict


def _as_clients_see_it(clients: Sequence[Client], verdict: Verdict) -> dict[str, bytes]:
    """Every key once more; then the results, as they were delivered, by job."""
    delivered: dict[str, bytes] = {}
    for client in clients:
        for asked in client.asked:
            client.repeat(asked)
            if len(set(asked.answers)) > 1:
                verdict.duplicated.append(f"{asked.key} was answered with {sorted(set(asked.answers))}")
            metered = client.metered(asked)
            state = metered["state"]
            if state not in ({"done", "cancelled"} if asked.cancelled else {"done"}):
                verdict.lost.append(f"{asked.job_id} ({asked.key}) is {state}")
            if state == "done":
                etag, body = client.result(asked)
                delivered[asked.job_id] = body
                if hashlib.sha256(body).hexdigest() not in etag:
                    verdict.wrong.append(f"{asked.job_id}: its bytes are not those of its ETag")
                if (shots := _shots(body)) != metered["shots"]:
                    verdict.billed_twice.append(f"{asked.job_id}: {metered['shots']} shots billed, {shots} delivered")
    return delivered


def _shots(body: bytes) -> int:
    """In a result."""
    pubs = decode_result(body).pubs
    return sum(pub.bits.shape[0] * pub.bits.shape[1] for pub in pubs if isinstance(pub, ShotsOfPub))


def _ends(connection: Connection, verdict: Verdict, rows: dict[str, Any]) -> None:
    """One end for each job, its last event; events without a gap; no leg done twice."""
    table = schema.job_events
    told: dict[str, list[Any]] = {job_id: [] for job_id in rows}
    for event in connection.execute(select(table).order_by(table.c.job_id, table.c.seq)):
        told[event.job_id].append(event)
    for job_id, events in told.items():
        names = [event.name for event in events]
        finals = [name for name in names if name in FINAL]
        if not finals:
            verdict.lost.append(f"{job_id} has no end: {names}")
        elif len(finals) > 1 or names[-1] != finals[0] or names.count("admitted") != 1:
            verdict.duplicated.append(f"{job_id}: {names}")
        elif finals[0] != rows[job_id].state:
            verdict.wrong.append(f"{job_id} is {rows[job_id].state}, and was told {names}")
        if [event.seq for event in events] != list(range(1, len(events) + 1)):
            verdict.lost.append(f"{job_id}: events are numbered {[event.seq for event in events]}")
        if rows[job_id].state == "done" and names.count("leg_done") != rows[job_id].num_legs - 1:
            verdict.duplicated.append(f"{job_id} of {rows[job_id].num_legs} legs: {names}")
    cursors = select(table.c.tenant_id, func.count(), func.max(table.c.cursor)).group_by(table.c.tenant_id)
    verdict.lost += [
        f"events of {tenant}: {n} to {last}" for tenant, n, last in connection.execute(cursors) if n != last
    ]


def _computed_again(
    connection: Connection, verdict: Verdict, rows: dict[str, Any], delivered: dict[str, bytes]
) -> Counter[str]:
    """Run every stored batch once more, in peace, and compare. The shots that ran, by job."""
    ran: Counter[str] = Counter()
    parts: dict[str, list[Part]] = {}
    batches = connection.execute(select(schema.batches).order_by(schema.batches.c.device_start_us)).all()
    verdict.left_over += [f"{row.id} is {row.state}" for row in batches if row.state not in {"done", "dissolved"}]
    end_us = 0
    for row in batches:
        if row.device_start_us < end_us:
            verdict.duplicated.append(f"{row.id} begins before the batch before it has ended")
        end_us = row.device_start_us + row.device_us
        if row.state != "done":
            continue
        batch = load(connection, SYSTEM, row.id)
        report = decode_report(run_tasks(join_tasks([member.record for member in batch.members])))
        for member, task in zip(batch.members, report.tasks, strict=True):
            legs, job_id = parts.setdefault(member.job.id, []), member.job.id
            if member.leg != len(legs):
                verdict.duplicated.append(f"{job_id}: leg {member.leg} was settled after {len(legs)} legs")
            outcome = MemberOutcome(task.slices, task.cpu_us, task.failure, report.fingerprint)
            legs.append(Part.of(batch, member, outcome))
            ran[job_id] += legs[-1].shots
            if member.last and rows[job_id].state == "done":
                truth = package(member.job, member.program, legs)
                stored = blobs.get_blob(connection, rows[job_id].result_sha)
                if not truth == stored == delivered.get(job_id):
                    verdict.wrong.append(f"{job_id}: its record gives another result")
    return ran


def _books(connection: Connection, verdict: Verdict, rows: dict[str, Any], ran: Counter[str]) -> None:
    """One record a job, over the shots that ran; posted once; nothing reserved."""
    used: dict[str, list[Any]] = {job_id: [] for job_id in rows}
    for record in connection.execute(select(schema_money.usage_records)):
        used[record.job_id].append(record)
    for job_id, records in used.items():
        if len(records) != 1:
            verdict.billed_twice.append(f"{job_id} has {len(records)} usage records")
        elif records[0].shots != ran[job_id] and rows[job_id].state != "failed":
            verdict.billed_twice.append(f"{job_id}: {records[0].shots} shots billed, {ran[job_id]} ran")
    windows = connection.execute(select(schema_access.quota_windows)).all()
    verdict.left_over += [f"{w.reserved} {w.resource} of {w.tenant_id}" for w in windows if w.reserved]
    billed: Counter[str] = Counter()
    for records in used.values():
        billed.update({record.tenant_id: record.shots for record in records})
    spent: Counter[str] = Counter()
    for w in windows:
        if (w.resource, w.window, w.principal_id) == ("shots", "month", ""):
            spent[w.tenant_id] += w.spent
    verdict.billed_twice += [
        f"{one}: quota says {spent[one]} shots, records {billed[one]}" for one in billed if spent[one] != billed[one]
    ]


def _reconciled(connection: Connection, verdict: Verdict, credited_micro: int) -> int:
    found = list(reconciliation.findings(connection, SYSTEM))
    lost = {Difference.UNMETERED_JOB, Difference.RUNNING_WITHOUT_BATCH}
    verdict.lost += [one.sentence for one in found if one.kind in lost]
    verdict.billed_twice += [one.sentence for one in found if one.kind not in lost]
    posted = int(connection.execute(_POSTED_TO_TENANTS).scalar_one())
    used, held = (int(connection.execute(question).scalar_one()) for question in (_USED, _HELD))
    unbalanced = sum(abs(one.found) for one in found if one.kind is Difference.TRIAL_BALANCE)
    return unbalanced + abs(posted - (credited_micro - used - held))


def _audited(house: House) -> list[str]:
    """What the audit chain's own check finds."""
    checked = house.run("audit", "verify")
    return [checked.stdout + checked.stderr] if checked.returncode else []


_POSTED_TO_TENANTS = select(func.coalesce(func.sum(schema_money.postings.c.amount_micro), 0)).where(
    schema_money.postings.c.account == "tenant:" + schema_money.postings.c.tenant_id
)
_USED = select(func.coalesce(func.sum(schema_money.usage_records.c.price_micro), 0))
_HELD = select(func.coalesce(func.sum(schema.sessions.c.price_micro), 0))
