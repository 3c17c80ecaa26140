"""What a tenant sees of a job does not tell who else was on the chip, byte for byte.

Alice runs the same jobs in two worlds. In the second one everybody else has another name, other seeds, other circuits,
tags and quotas, on the same qubits. Everything Alice can read is compared; what may differ is listed in
:data:`ALLOWED`.
"""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
from qiskit import QuantumCircuit
from sqlalchemy import update

from qpu_backend.domain.tenancy import Role
from qpu_backend.serving import HttpServer, ServerThread
from qpu_backend.stores.schema import batches
from qpu_sdk.wire.results import decode_result

WALL_TIMES = {"created_at", "finished_at", "started_at", "calibrated_at", "at", "since", "window_start", "window_end"}
ALLOWED = WALL_TIMES | {"device_time_us", "calibration_age_s", "simulator_cpu_us"} | {"token", "expires_at"}
CROSSTALK = {"crosstalk_loss", "counts", "bits"}
"""What may differ as well where neighbours disturb each other."""

_ID = re.compile(r"\b(job|cal|snap|snp|ten|prn|req|bat|batch|use|quo)_[0-9a-f-]{20,}")
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
_SILENT = {"date", "x-request-id", "content-length"}


@dataclass(frozen=True)
class Neighbour:
    """Somebody beside Alice."""

    name: str
    qubits: tuple[int, ...]
    layers: int
    seed: int
    tag: str
    weight: int


ONE_WORLD = (
    Neighbour("bob-of-acme", (0, 1, 2), 2, 11, "bobs-secret", 100),
    Neighbour("carol-of-initech", (20, 21, 22), 3, 12, "carols-secret", 100),
    Neighbour("dave-of-hooli", (60, 61, 62), 1, 13, "daves-secret", 100),
)
ANOTHER_WORLD = (
    Neighbour("mallory", (0, 1, 2), 9, 5011, "tag-of-mallory", 900),
    Neighbour("nn-labs", (20, 21, 22), 1, 5012, "another tag", 100),
    Neighbour("somebody with a long name", (60, 61, 62), 6, 5013, "q7", 20),
)


def busy_circuit(make, neighbour: Neighbour) -> QuantumCircuit:
    circuit = QuantumCircuit(127, len(neighbour.qubits))
    for _ in range(neighbour.layers):
        circuit.sx(neighbour.qubits)
        for a, b in itertools.pairwise(neighbour.qubits):
            circuit.ecr(*make.directed(a, b))
    circuit.measure(neighbour.qubits, range(len(neighbour.qubits)))
    return circuit


def alices_orders(make) -> list[Any]:
    return [
        make.sample(make.ghz(), make.ghz(4), shots=(400, 100), seed=1),
        make.sample(make.ghz(), shots=300, seed=2),
        make.sample(make.pinned(40, 41, 42), backend="eagle127", shots=200, seed=3),
        make.sample(make.ghz(), shots=150, seed=4, isolation="exclusive"),
    ]


class Reader:
    """Alice with her key: keeps everything that she is answered."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        self.seen: dict[str, tuple[dict[str, str], bytes]] = {}

    def look(self, label: str, path: str, **headers: str) -> None:
        """Keep headers and body of an answer."""
        answer = self.http.get(path, headers=headers)
        assert answer.status_code in {200, 409}, answer.text
        facts = {name: value for name, value in answer.headers.items() if name not in _SILENT}
        self.seen[f"{label} {path} {headers}"] = facts, answer.content

    def look_around(self, label: str, job_ids: list[str]) -> None:
        """Ask everything there is to ask."""
        for path in ("version", "backends", "backends/eagle127:line-5", "backends/eagle127", "usage", "jobs"):
            self.look(label, f"/{path}")
        for name in ("eagle127", "eagle127:line-5"):
            self.look(label, f"/backends/{name}/status")
            self.look(label, f"/backends/{name}/calibrations")
        for job_id in job_ids:
            for part in ("", "/metering", "/events", "/result"):
                self.look(label, f"/jobs/{job_id}{part}")
            self.look(label, f"/jobs/{job_id}/result", Accept="application/json")

    def replay(self, job_id: str, *, alone: bool) -> None:
        """Keep headers and body of a replay."""
        answer = self.http.post(f"/jobs/{job_id}/replay", json={"alone": alone})
        assert answer.status_code == 200, answer.text
        facts = {name: value for name, value in answer.headers.items() if name not in _SILENT | {"etag"}}
        self.seen[f"replay /jobs/{job_id} {'alone' if alone else 'as it was'}"] = facts, answer.content

    def quote(self, order: Any) -> None:
        """Keep headers and body of a quote."""
        answer = self.http.post("/quotes", content=order.model_dump_json())
        assert answer.json()["start_in_s"] is not None, answer.text
        facts = {name: value for name, value in answer.headers.items() if name not in _SILENT}
        self.seen["quote /quotes"] = facts, answer.content

    def submit(self, order: Any) -> str:
        return self.http.post("/jobs", content=order.model_dump_json()).json()["id"]


def last(lab, seconds: float) -> None:
    """Every batch so far took so long."""
    took = {"finished_at_us": batches.c.created_at_us + round(1e6 * seconds)}
    with lab.service.database.write() as connection:
        connection.execute(update(batches).values(took))


def world(lab, make, socket, neighbours) -> dict[str, tuple[dict[str, str], bytes]]:
    """Everything Alice can read, by what she asked for: headers and body."""
    door = ServerThread(HttpServer(lab.service, uds=socket))
    door.start()
    others = {one: lab.tenant(one.name, weight=one.weight) for one in neighbours}
    lab.service.administration.create_tenant("alice")
    headers = {"Authorization": f"Bearer {lab.service.administration.create_key('alice', role=Role.MEMBER)}"}
    transport = httpx.HTTPTransport(uds=str(socket))
    with httpx.Client(transport=transport, base_url="http://qpu/v1", headers=headers, timeout=60) as http:
        alice = Reader(http)
        mine: list[str] = []
        theirs: list[str] = []
        with lab.queueing():
            orders = alices_orders(make)
            for neighbour in neighbours:
                job = make.sample(busy_circuit(make, neighbour), backend="eagle127", shots=400, seed=neighbour.seed)
                theirs.append(lab.submit(others[neighbour], job.model_copy(update={"tags": [neighbour.tag]})))
                mine.append(alice.submit(orders.pop(0)))
            mine += [alice.submit(order) for order in orders]
            alice.look_around("queued", mine)
        lab.ended(*mine, *theirs)
        assert len(lab.batches(*mine)[0].placements) >= 5
        alice.look_around("ended", mine)
        last(lab, 1 + neighbours[0].layers / 10)
        alice.quote(alices_orders(make)[0])
        for job_id in mine:
            alice.look("stream", f"/jobs/{job_id}/events", Accept="text/event-stream")
            alice.replay(job_id, alone=False)
            alice.replay(job_id, alone=True)
    door.stop()
    spoken = b"".join(body for _, body in alice.seen.values())
    for one, scope in others.items():
        for secret in (one.name, one.tag, scope.tenant_id, scope.principal_id, *theirs):
            assert secret.encode() not in spoken
    return alice.seen


def plain(headers: dict[str, str], body: bytes, allowed: set[str]) -> str:
    """One answer as text, without what is allowed to differ."""
    kind = headers.get("content-type", "text/event-stream")
    if "msgpack" in kind:
        result = decode_result(body)
        pubs = [{"bits": pub.bits.tolist(), "num_clbits": pub.num_clbits} for pub in result.pubs]
        document: Any = {"job_id": result.job_id, "pubs": pubs, "metadata": result.metadata, "size": len(body)}
    elif "event-stream" in kind:
        data = [line.removeprefix("data: ") for line in body.decode().splitlines() if line.startswith("data: ")]
        rest = [line for line in body.decode().splitlines() if not line.startswith("data: ")]
        document = {"rest": rest, "data": [json.loads(line) for line in data]}
    else:
        document = json.loads(body)
    return json.dumps([headers, _without(document, allowed)], sort_keys=True, default=str)


def _without(document: Any, allowed: set[str]) -> Any:
    if isinstance(document, dict):
        return {name: "…" if name in allowed else _without(value, allowed) for name, value in document.items()}
    return [_without(value, allowed) for value in document] if isinstance(document, list) else document


def comparable(seen: dict[str, tuple[dict[str, str], bytes]], allowed: set[str]) -> dict[str, str]:
    """All answers as text; ids and digests are replaced by the order in which they first appear."""
    known: dict[str, str] = {}

    def number(match: re.Match[str]) -> str:
        return known.setdefault(match[0], f"id-{len(known)}")

    texts: dict[str, str] = {}
    for question, (headers, body) in seen.items():
        text = _DIGEST.sub(number, _ID.sub(number, question + plain(headers, body, allowed)))
        texts[_ID.sub(number, question) + f" #{len(texts)}"] = text
    return texts


@pytest.mark.parametrize("crosstalk", [False, True])
def test_nothing_a_tenant_reads_tells_who_its_neighbours_are(new_lab, make, tmp_path, crosstalk):
    policy = {"crosstalk": crosstalk, "buffer": 0}
    settings = {"device": policy, "max_inflight": 1}  # which of two batches is computed first is a time
    one = world(new_lab("one", **settings), make, tmp_path / "1.sock", ONE_WORLD)
    another = world(new_lab("another", **settings), make, tmp_path / "2.sock", ANOTHER_WORLD)
    allowed = ALLOWED | (CROSSTALK if crosstalk else set())
    mine, mine_again = comparable(one, allowed), comparable(another, allowed)
    assert mine.keys() == mine_again.keys()
    for question, text in mine.items():
        assert text == mine_again[question]
    if crosstalk:
        for _, body in (*one.values(), *another.values()):
            for told in re.findall(rb'"crosstalk_loss":\s*([0-9.]+)', body):
                assert float(told) * 200 == pytest.approx(round(float(told) * 200), abs=1e-9)


def test_the_comparison_notices_a_difference(new_lab, make):
    """Another seed of Alice's own is seen at once: the test above can fail."""
    first, second = new_lab("one"), new_lab("another")
    orders = [make.sample(make.ghz(), shots=400, seed=seed) for seed in (1, 2)]
    bits = [lab.shots(lab.submit(lab.tenant(), order))[0] for lab, order in zip((first, second), orders, strict=True)]
    assert not np.array_equal(*bits)
    body = json.dumps({"id": "x", "seed": 1}).encode()
    other = json.dumps({"id": "x", "seed": 2}).encode()
    headers = {"content-type": "application/json"}
    assert plain(headers, body, ALLOWED) != plain(headers, other, ALLOWED)
