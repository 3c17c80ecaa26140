"""Every error that the service can raise is one code of one table, and every code is met by a client over HTTP."""

from __future__ import annotations

import importlib
import pkgutil
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

import qpu_backend.domain
from qpu_backend.bootstrap import SYSTEM
from qpu_backend.domain.errors import DomainError
from qpu_backend.domain.tenancy import Role
from qpu_backend.engines.invalid_circuit import DecodingUnavailable, InvalidCircuit
from qpu_backend.http.problems import STATUS, ProblemError, code_of
from qpu_backend.physics.errors import NotCalibrated, PhysicsError, TooLarge
from qpu_backend.pipeline.endings import fail_jobs
from qpu_backend.stores import jobs
from qpu_backend.stores.errors import (
    DatabaseBusy,
    DatabaseFull,
    DatabaseGone,
    IdempotencyKeyTaken,
    InvalidCursor,
    NameTaken,
    StoreError,
)
from qpu_sdk.problems import EXCEPTION_OF_CODE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

for module in pkgutil.iter_modules(qpu_backend.domain.__path__, "qpu_backend.domain."):
    importlib.import_module(module.name)  # families of errors stand beside their rules

PATTERN_OF_ELSEWHERE = "tests/http/test_{}.py"
MET_ELSEWHERE = {
    "invalid_request": "bad_input",
    "invalid_circuit": "bad_input",
    "unsupported_instruction": "bad_input",
    "not_isa": "bad_input",
    "circuit_too_large": "bad_input",
    "limit_exceeded": "bad_input",
    "unknown_backend": "bad_input",
    "body_too_large": "disconnects",
    "unauthenticated": "doors",
    "forbidden": "doors",
    "role_refused": "principals",
    "name_taken": "principals",
    "lock_out": "principals",
    "key_ended": "keys",
    "key_replaced": "keys",
    "not_found": "doors",
    "method_not_allowed": "doors",
    "idempotency_conflict": "jobs",
    "illegal_transition": "jobs",
    "job_not_done": "jobs",
    "job_cancelled": "jobs",
    "result_archived": "archived",
    "replay_not_done": "replays",
    "month_not_over": "invoices",
    "quote_invalid": "quotes",
    "quote_mismatch": "quotes",
    "quote_expired": "quotes",
    "quota_exceeded": "jobs",
    "queue_full": "jobs",
    "session_closed": "sessions",
    "session_cost_exceeded": "sessions",
    "session_share_exceeded": "sessions",
    "lane_refused": "lanes",
    "rate_limited": "limits",
    "isolation_refused": "limits",
    "slice_refused": "limits",
    "promise_refused": "lanes",
}
MET_HERE = {"cost_cap_exceeded", "calibration_drifted", "job_failed", "unavailable", "internal"}


def below(root: type[Exception]) -> Iterator[type[Exception]]:
    yield root
    for child in root.__subclasses__():
        yield from below(child)


def bare(kind: type[Exception]) -> Exception:
    """One of them without its facts: the table looks at the class and its code only."""
    return kind.__new__(kind)


def test_every_code_is_met_by_a_test():
    assert set(MET_ELSEWHERE) | MET_HERE == set(STATUS) == set(EXCEPTION_OF_CODE)


@pytest.mark.parametrize("code", MET_ELSEWHERE)
def test_the_test_that_meets_a_code_names_it(code, request):
    file = request.config.rootpath / PATTERN_OF_ELSEWHERE.format(MET_ELSEWHERE[code])
    assert f'"{code}"' in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("root", [DomainError, InvalidCircuit, DecodingUnavailable])
def test_what_a_client_can_be_told_has_its_own_code(root):
    for kind in below(root):
        if not kind.__subclasses__() or "__init__" in vars(kind):
            assert code_of(bare(kind)) == kind.code


def test_what_is_not_the_clients_fault_is_internal_but_for_a_named_few():
    told = {kind: code_of(bare(kind)) for root in (StoreError, PhysicsError) for kind in below(root)}
    others = {kind: code for kind, code in told.items() if code != "internal"}
    assert others == {
        InvalidCursor: "invalid_request",
        NameTaken: "name_taken",
        DatabaseBusy: "unavailable",
        DatabaseFull: "unavailable",
        DatabaseGone: "unavailable",
        IdempotencyKeyTaken: "unavailable",
        NotCalibrated: "not_isa",
        TooLarge: "circuit_too_large",
    }
    assert code_of(ProblemError("of a typing error", "")) == code_of(ZeroDivisionError()) == "internal"


def test_a_job_that_costs_more_than_its_cap_is_refused(client, orders, refused):
    assert refused(client.post("/v1/jobs", json=orders.of(max_cost_micro=1)), "cost_cap_exceeded")["field"]


def test_a_job_that_minds_drift_is_refused_after_a_calibration(client, orders, refused):
    document = orders.of(calibration_id="cal_old", drift_policy="refuse")
    assert refused(client.post("/v1/jobs", json=document), "calibration_drifted")["field"] == "calibration_id"
    assert orders.submit(client, orders.of(calibration_id="cal_old"))


def test_a_failed_job_says_why_and_is_free(own_server, orders, refused):
    server = own_server()
    service = server.service
    service.administration.set_operational("eagle127", operational=False, status_msg="closed")
    client = server.new_client()
    job_id = orders.submit(client)
    with service.database.write() as connection:
        rows = list(jobs.read_jobs(connection, SYSTEM, [job_id]).values())
        fail_jobs(
            connection, SYSTEM, rows, "unplaceable", "no place fits this job any more", service.door.clock.now_us()
        )
    problem = refused(client.get(f"/v1/jobs/{job_id}/result"), "job_failed")
    assert problem["detail"] == "no place fits this job any more"
    assert client.get(f"/v1/jobs/{job_id}").json()["error_code"] == "unplaceable"
    assert client.get(f"/v1/jobs/{job_id}/metering").json()["price_micro"] == 0


def test_without_decoders_a_job_is_to_be_sent_again(own_server, orders, refused):
    server = own_server()
    client = server.new_client()
    server.service._decoding.close()
    response = client.post("/v1/jobs", json=orders.of(), headers={"Idempotency-Key": "k"})
    refused(response, "unavailable")
    assert response.headers["Retry-After"] == "1"
    assert client.get("/v1/jobs").json()["jobs"] == []


def test_without_its_database_the_service_is_alive_but_not_ready(own_server, tmp_path, refused):
    server = own_server()
    client = server.new_client()
    for file in tmp_path.glob("qpu.sqlite*"):
        shutil.move(file, tmp_path / f"gone-{file.name}")
    (tmp_path / "qpu.sqlite").mkdir()
    server.service.database.close()  # afterwards: what was open would go on reading
    refused(client.get("/readyz"), "unavailable")
    refused(client.get("/v1/usage"), "unavailable")
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/v1/version").status_code == 200


def test_a_damaged_result_is_our_failure_and_is_not_told_in_detail(own_server, orders, refused):
    server = own_server()
    client = server.new_client()
    job_id = orders.submit(client)
    orders.finished(client, job_id)
    sha = client.get(f"/v1/jobs/{job_id}/result").headers["ETag"].strip('"')
    with server.service.database.write() as connection:
        connection.execute(text("UPDATE blobs SET body = x'00' WHERE sha256 = :sha"), {"sha": sha})
    problem = refused(client.get(f"/v1/jobs/{job_id}/result"), "internal")
    assert problem["request_id"] in problem["detail"]
    assert sha not in problem["detail"]
    assert client.get(f"/v1/jobs/{job_id}").json()["state"] == "done"


def test_what_was_refused_is_counted_by_code(server, orders, operator):
    client = server.new_client()
    for document in (orders.of(shots=0), orders.raw(b"no circuit"), orders.of(backend="osprey"), [1]):
        assert client.post("/v1/jobs", json=document).status_code in {404, 422}
    text_of = operator.get("/metrics")
    assert text_of.headers["Content-Type"].startswith("text/plain")
    for code in ("invalid_request", "invalid_circuit", "unknown_backend"):
        assert f'qpu_jobs_refused_total{{code="{code}"}}' in text_of.text


def test_an_operator_sees_everybody_and_others_do_not(server, orders, refused):
    client = server.new_client()
    job_id = orders.submit(client)
    orders.finished(client, job_id)
    operator = server.new_client(Role.OPERATOR)
    (batch,) = [
        batch
        for batch in operator.get("/v1/operations/eagle127/batches").json()["batches"]
        if job_id in {placement["job_id"] for placement in batch["placements"]}
    ]
    assert batch["state"] == "done"
    refused(operator.get("/v1/operations/osprey/batches"), "unknown_backend")
    refused(client.get("/v1/operations/eagle127/batches"), "forbidden")


def test_every_answer_has_a_request_id_of_its_own(client: httpx.Client):
    ids: list[Any] = [client.get(path).headers["X-Request-Id"] for path in ("/healthz", "/v1/version", "/nowhere") * 3]
    assert len(set(ids)) == 9
