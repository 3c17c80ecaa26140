"""Everything wrong that a client can send as a job: a problem that names the field, and nothing is lost or stored."""

from __future__ import annotations

import io
import json
import math
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, qpy
from qiskit.circuit import Parameter

from qpu_sdk.wire.circuits import encode_bindings

if TYPE_CHECKING:
    from collections.abc import Callable

_FILE_HEADER = struct.Struct("!6sBBBBQcc")
_CIRCUIT_HEADER = struct.Struct("!H1cHIIQIQI")


def qpy_of(*circuits: QuantumCircuit, version: int | None = None) -> bytes:
    buffer = io.BytesIO()
    qpy.dump(list(circuits), buffer, **({} if version is None else {"version": version}))
    return buffer.getvalue()


def declaring(*, circuits: int = 1, qubits: int = 1, clbits: int = 0, instructions: int = 0) -> bytes:
    """A QPY document of a few dozen bytes whose headers promise much."""
    head = _FILE_HEADER.pack(b"QISKIT", 13, 2, 0, 0, circuits, b"e", b"q")
    return head + _CIRCUIT_HEADER.pack(1, b"f", 8, qubits, clbits, 2, 0, instructions, 0) + b"x" + b"\0" * 8 + b"{}"


def packed(orders: Any, document: bytes, **changes: Any) -> dict[str, Any]:
    return orders.raw(zlib.compress(document), **changes)


def changed(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return document | changes


def with_pub(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return document | {"pubs": [document["pubs"][0] | changes]}


def with_options(orders: Any, **options: Any) -> dict[str, Any]:
    return orders.of(options=options)


def only(*steps: Callable[[QuantumCircuit], object], num_qubits: int = 5) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits, 2)
    for step in steps:
        step(circuit)
    circuit.measure(0, 0)
    return circuit


def parametric(orders: Any, values: np.ndarray | None, **changes: Any) -> dict[str, Any]:
    circuit = only(lambda c: c.rz(Parameter("t"), 0))
    table = None if values is None else encode_bindings(values).model_dump(mode="json")
    document = orders.of(circuit, program="sampler")
    return with_pub(document, bindings=table, **changes)


def qasm(orders: Any, *programs: str) -> dict[str, Any]:
    return orders.raw(json.dumps(programs).encode(), codec="qasm3")


def estimating(orders: Any, **changes: Any) -> dict[str, Any]:
    circuit = QuantumCircuit(5)
    circuit.sx(0)
    observable = {"terms": [{"paulis": "Z", "qubits": [0], "coefficient": 1.0}]}
    pub = {"circuit": 0, "observables": [observable], "pairs": [[0, 0]], **changes}
    return orders.of(circuit, program="estimator") | {"pubs": [pub]}


def estimating_with(orders: Any, shots: int = 100, **mitigation: Any) -> dict[str, Any]:
    return estimating(orders, shots=shots) | {"options": {"mitigation": mitigation}}


def backwards(orders: Any) -> dict[str, Any]:
    a, b = orders.pairs[0]
    return orders.of(only(lambda c: c.ecr(b, a)))


BAD: dict[str, tuple[Callable[[Any], Any], str, str | None]] = {
    # --- bytes that are no circuits
    "not base64": (
        lambda o: changed(o.of(), circuits={"data": "A"}),
        "invalid_request",
        "circuits.data",
    ),
    "not zlib": (lambda o: o.raw(b"hello"), "invalid_circuit", "circuits.data"),
    "no bytes": (lambda o: o.raw(b""), "invalid_circuit", "circuits.data"),
    "truncated zlib": (lambda o: o.raw(zlib.compress(qpy_of(o.circuit()))[:-20]), "invalid_circuit", "circuits.data"),
    "not QPY": (lambda o: packed(o, b"hello" * 30), "invalid_circuit", "circuits.data"),
    "truncated QPY": (lambda o: packed(o, qpy_of(o.circuit())[:-40]), "invalid_circuit", "circuits.data"),
    "QPY cut in the header": (lambda o: packed(o, qpy_of(o.circuit())[:12]), "invalid_circuit", "circuits.data"),
    "QPY before 13": (
        lambda o: packed(o, b"QISKIT\x0c" + qpy_of(o.circuit(), version=13)[7:]),
        "invalid_circuit",
        "circuits.data",
    ),
    "QPY of the future": (lambda o: packed(o, b"QISKIT\xff" + b"\0" * 90), "invalid_circuit", "circuits.data"),
    "ten million qubits": (lambda o: packed(o, declaring(qubits=10**7)), "limit_exceeded", "circuits.data"),
    "ten million bits": (lambda o: packed(o, declaring(clbits=10**7)), "limit_exceeded", "circuits.data"),
    "a billion instructions": (lambda o: packed(o, declaring(instructions=10**9)), "limit_exceeded", "circuits.data"),
    "too many circuits": (lambda o: packed(o, declaring(circuits=2**60)), "limit_exceeded", "circuits.data"),
    "no circuit at all": (lambda o: packed(o, declaring(circuits=0)), "invalid_circuit", "circuits.data"),
    "a zip bomb": (lambda o: packed(o, b"QISKIT" + b"\0" * 20_000_000), "limit_exceeded", "circuits.data"),
    # --- circuits that are not this device's
    "nobody's gate": (lambda o: o.of(only(lambda c: c.h(0))), "unsupported_instruction", "circuits.data"),
    "another device's gate": (lambda o: o.of(only(lambda c: c.cz(0, 1))), "not_isa", "circuits[0]"),
    "no device's gate": (
        lambda o: o.of(only(lambda c: c.unitary(np.eye(8), [0, 1, 2]))),
        "unsupported_instruction",
        "circuits.data",
    ),
    "wrong direction": (backwards, "not_isa", "circuits[0]"),
    "not coupled": (lambda o: o.of(only(lambda c: c.ecr(0, 4))), "not_isa", "circuits[0]"),
    "unknown qubit": (lambda o: o.of(only(lambda c: c.x(5), num_qubits=6)), "not_isa", "circuits[0]"),
    "measures nothing": (lambda o: o.of(QuantumCircuit(5, 5)), "invalid_circuit", "circuits[0]"),
    "too wide to simulate": (
        lambda o: o.of(_all_measured(21), backend="eagle127"),
        "circuit_too_large",
        "circuits[0]",
    ),
    # --- OpenQASM
    "qasm: includes a server's file": (
        lambda o: qasm(o, 'OPENQASM 3.0; include "/etc/passwd"; qubit[1] q;'),
        "invalid_circuit",
        "circuits.data",
    ),
    "qasm: hides the include in a comment": (
        lambda o: qasm(o, 'OPENQASM 3.0; include /* "stdgates.inc" */ "/etc/passwd"; qubit[1] q;'),
        "invalid_circuit",
        "circuits.data",
    ),
    "qasm: nonsense": (lambda o: qasm(o, "this is no program"), "invalid_circuit", "circuits.data"),
    "qasm: a million qubits": (lambda o: qasm(o, "OPENQASM 3.0; qubit[1000000] q;"), "limit_exceeded", "circuits.data"),
    "qasm: no list": (lambda o: o.raw(b'"OPENQASM 3.0;"', codec="qasm3"), "invalid_circuit", "circuits.data"),
    "qasm: empty list": (qasm, "invalid_circuit", "circuits.data"),
    "qasm: an endless loop": (
        lambda o: qasm(o, "OPENQASM 3.0; bit b; qubit q; while (!b) { b = measure q; }"),
        "unsupported_instruction",
        "circuits.data",
    ),
    # --- shots and lists
    "zero shots": (lambda o: o.of(shots=0), "invalid_request", "pubs.0.shots"),
    "negative shots": (lambda o: o.of(shots=-1), "invalid_request", "pubs.0.shots"),
    "huge shots": (lambda o: o.of(shots=10**6), "limit_exceeded", "pubs.0.shots"),
    "shots beyond every integer": (lambda o: o.of(shots=10**30), "limit_exceeded", "pubs.0.shots"),
    "half a shot": (lambda o: o.of(shots=0.5), "invalid_request", "pubs.0.shots"),
    "no pubs": (lambda o: changed(o.of(), pubs=[]), "invalid_request", "pubs"),
    "a pub of no circuit": (
        lambda o: with_pub(o.of(program="sampler"), circuit=7),
        "invalid_request",
        "pubs.0.circuit",
    ),
    "a pub of circuit 2^70": (lambda o: with_pub(o.of(), circuit=2**70), "invalid_request", "pubs.0.circuit"),
    "two pubs of one circuit": (lambda o: changed(o.of(), pubs=o.of()["pubs"] * 2), "invalid_request", "pubs"),
    "too many executions": (
        lambda o: parametric(o, np.zeros((20_001, 1)), shots=1),
        "limit_exceeded",
        "pubs.0.bindings",
    ),
    "too much to answer": (
        lambda o: parametric(o, np.zeros((3_000, 1)), shots=100_000),
        "limit_exceeded",
        "pubs",
    ),
    # --- parameters
    "unbound": (lambda o: parametric(o, None), "invalid_request", "pubs.0.bindings"),
    "NaN": (lambda o: parametric(o, np.array([[math.nan]])), "invalid_circuit", "pubs.0.bindings"),
    "infinite": (lambda o: parametric(o, np.array([[math.inf]])), "invalid_circuit", "pubs.0.bindings"),
    "too many columns": (lambda o: parametric(o, np.zeros((1, 2))), "invalid_request", "pubs.0.bindings"),
    "bytes that are no table": (
        lambda o: with_pub(
            parametric(o, None), bindings={"num_bindings": 2**40, "num_parameters": 2**40, "data": "AAAA"}
        ),
        "invalid_request",
        "pubs.0.bindings.data",
    ),
    "NaN in the circuit": (lambda o: o.of(only(lambda c: c.rz(math.nan, 0))), "invalid_circuit", "circuits.data"),
    "a delay of days": (lambda o: o.of(only(lambda c: c.delay(10**15, 0, unit="dt"))), "not_isa", "circuits[0]"),
    # --- estimator
    "no observables": (lambda o: estimating(o, observables=None), "invalid_request", "pubs.0.observables"),
    "no pairs": (lambda o: estimating(o, pairs=[]), "invalid_request", "pubs.0.pairs"),
    "a pair of nothing": (lambda o: estimating(o, pairs=[[2**70, -1]]), "invalid_request", "pubs.0.pairs"),
    "an observable on no qubit": (
        lambda o: estimating(o, observables=[{"terms": [{"paulis": "Z", "qubits": [2**70], "coefficient": 1}]}]),
        "invalid_request",
        "pubs.0.observables",
    ),
    "a precision nobody reaches": (lambda o: estimating(o, precision=1e-300), "limit_exceeded", "pubs.0.precision"),
    "observables of a sampler": (
        lambda o: estimating(o) | {"program": "sampler"},
        "invalid_request",
        "pubs.0.observables",
    ),
    # --- the rest of the document
    "unknown field": (lambda o: o.of(colour="blue"), "invalid_request", "colour"),
    "unknown option": (lambda o: with_options(o, speed=11), "invalid_request", "options.speed"),
    "unknown version": (lambda o: o.of(wire_version=2), "invalid_request", "wire_version"),
    "unknown codec": (
        lambda o: changed(o.of(), circuits={"codec": "pickle", "data": ""}),
        "invalid_request",
        "circuits.codec",
    ),
    "unknown backend": (lambda o: o.of(backend="osprey"), "unknown_backend", "backend"),
    "unknown shape": (lambda o: o.of(backend="eagle127:star-5"), "unknown_backend", "backend"),
    "a name with a NUL": (lambda o: o.of(backend="eagle\0"), "invalid_request", "backend"),
    "a tag with a NUL": (lambda o: o.of(tags=["a\0"]), "invalid_request", "tags.0"),
    "too many tags": (lambda o: o.of(tags=["a"] * 17), "invalid_request", "tags"),
    "a seed below zero": (lambda o: with_options(o, seed=-1), "invalid_request", "options.seed"),
    "a cap beyond every integer": (lambda o: o.of(max_cost_micro=10**30), "invalid_request", "max_cost_micro"),
    "raw signals": (lambda o: with_options(o, meas_level=0), "invalid_request", "options.meas_level"),
    "no initialisation": (lambda o: with_options(o, init_qubits=False), "invalid_request", "options.init_qubits"),
    "a repetition delay of an hour": (
        lambda o: with_options(o, rep_delay_us=3.6e9),
        "invalid_request",
        "options.rep_delay_us",
    ),
    # --- mitigation
    "unknown mitigation": (
        lambda o: estimating_with(o, magic={}),
        "invalid_request",
        "options.mitigation.magic",
    ),
    "a noise factor below one": (
        lambda o: estimating_with(o, zne={"noise_factors": [0.5, 1]}),
        "invalid_request",
        "options.mitigation.zne.noise_factors",
    ),
    "an even noise factor": (
        lambda o: estimating_with(o, zne={"noise_factors": [1, 2]}),
        "invalid_request",
        "options.mitigation.zne.noise_factors",
    ),
    "one noise factor": (
        lambda o: estimating_with(o, zne={"noise_factors": [1]}),
        "invalid_request",
        "options.mitigation.zne.noise_factors",
    ),
    "an unknown curve": (
        lambda o: estimating_with(o, zne={"extrapolator": "spline"}),
        "invalid_request",
        "options.mitigation.zne.extrapolator",
    ),
    "no randomisation": (
        lambda o: estimating_with(o, twirling={"enable_gates": True, "num_randomizations": 0}),
        "invalid_request",
        "options.mitigation.twirling.num_randomizations",
    ),
    "more randomisations than shots": (
        lambda o: estimating_with(o, 10, twirling={"enable_gates": True, "num_randomizations": 11}),
        "invalid_request",
        "options.mitigation.twirling.num_randomizations",
    ),
    "unknown pulses": (
        lambda o: estimating_with(o, dynamical_decoupling={"sequence_type": "CPMG"}),
        "invalid_request",
        "options.mitigation.dynamical_decoupling.sequence_type",
    ),
    "errors from nowhere": (
        lambda o: estimating_with(o, measure={"source": "guess"}),
        "invalid_request",
        "options.mitigation.measure.source",
    ),
    "circuits with mitigation": (
        lambda o: with_options(o, mitigation={"dynamical_decoupling": {}}),
        "invalid_request",
        "options.mitigation",
    ),
    "a sampler that extrapolates": (
        lambda o: o.of(program="sampler", options={"mitigation": {"zne": {}}}),
        "invalid_request",
        "options.mitigation.zne",
    ),
    "a long name for nothing": (lambda o: o.of(**{"x" * 50_000: 1}), "invalid_request", None),
    "a list": (lambda _: [1, 2, 3], "invalid_request", None),
    "deep nesting": (lambda o: changed(o.of(), pubs=json.loads("[" * 150 + "]" * 150)), "invalid_request", None),
}
"""What is sent → the code and the field of the problem."""


def _all_measured(num_qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits, num_qubits)
    circuit.sx(range(num_qubits))
    circuit.measure(range(num_qubits), range(num_qubits))
    return circuit


@pytest.mark.parametrize("name", BAD)
def test_a_bad_job_is_a_problem_that_names_the_field_and_stores_nothing(client, orders, refused, name):
    make, code, field = BAD[name]
    document = make(orders)
    problem = refused(client.post("/v1/jobs", json=document), code)
    if field is not None:
        assert (problem["field"] or "").startswith(field)
    assert client.get("/v1/jobs").json()["jobs"] == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"\xff\xfe", b'{"backend": NaN}', b"\0" * 1000, b'"' + b"a" * 999]
)
def test_a_body_that_is_no_json_document_is_a_problem(client, refused, body):
    refused(client.post("/v1/jobs", content=body), "invalid_request")


def test_a_mutated_document_is_refused_or_is_another_good_circuit(client, orders, refused):
    document = qpy_of(orders.circuit())
    random = np.random.default_rng(1)
    for _ in range(60):
        spoilt = bytearray(document)
        for place in random.integers(0, len(document), 3):
            spoilt[place] = random.integers(0, 256)
        response = client.post("/v1/jobs", json=packed(orders, bytes(spoilt)))
        if response.status_code != 202:
            refused(response, response.json()["code"])
            assert response.status_code == 422


def test_register_names_that_are_words_of_numpy_are_only_names(client, orders):
    names = ["shape", "values", "keys", "items", "ndim", "size"]
    circuit = QuantumCircuit(5)
    for qubit, name in enumerate(names[:5]):
        circuit.sx(qubit)
        circuit.add_register(ClassicalRegister(1, name))
        circuit.measure(qubit, qubit)
    job_id = orders.submit(client, orders.of(circuit))
    assert orders.finished(client, job_id)["state"] == "done"
    result = client.get(f"/v1/jobs/{job_id}/result", headers={"Accept": "application/json"}).json()
    assert [register["name"] for register in result["pubs"][0]["registers"]] == names[:5]


def test_after_everything_bad_the_service_answers_and_has_lost_nothing(server, orders):
    client = server.new_client()
    accepted: list[str] = []
    for index, (make, _, _) in enumerate(BAD.values()):
        if index % 8 == 0:
            accepted.append(orders.submit(client))
        assert client.post("/v1/jobs", json=make(orders)).status_code in {404, 422}
    ended = [orders.finished(client, job_id) for job_id in accepted]
    assert [job["state"] for job in ended] == ["done"] * len(accepted)
    assert [job["id"] for job in client.get("/v1/jobs").json()["jobs"]] == accepted[::-1]
    usage = client.get("/v1/usage").json()
    assert usage["jobs"] == len(accepted)
    assert usage["shots"] == 100 * len(accepted)
    assert usage["price_micro"] == sum(job["price_micro"] for job in ended) == -usage["balance_micro"]
    assert client.get("/readyz").json()["status"] == "ready"
