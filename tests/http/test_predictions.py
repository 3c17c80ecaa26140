"""Predictions over HTTP: in place, from the published calibration, and refused as a submission would be."""

from __future__ import annotations

import math

import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

from qpu_backend.pipeline.predicting import MAX_OPERATIONS

PARTS = ("gates", "readout", "idling", "zz", "crosstalk")


def ask(client, orders, *circuits, backend=None):
    payload = orders.of(*circuits)["circuits"]
    return client.post(f"/v1/backends/{backend or orders.BACKEND}/predict", json={"circuits": payload})


def test_success_is_the_product_of_its_parts_and_a_longer_circuit_has_less_of_it(client, orders):
    twice = orders.circuit()
    twice = twice.copy_empty_like().compose(twice.remove_final_measurements(inplace=False)).compose(twice)
    document = ask(client, orders, orders.circuit(), twice).json()
    published = client.get(f"/v1/backends/{orders.BACKEND}").json()
    assert document["calibration_id"] == published["calibration_id"]
    once, longer = document["predictions"]
    for one in (once, longer):
        assert one["success"] == pytest.approx(math.exp(-sum(one[part] for part in PARTS)))
        assert one["crosstalk"] == 0.0
        assert len(set(one["region"])) == 5
    assert once["region"] == longer["region"]
    assert longer["success"] < once["success"] < 1.0
    assert longer["gates"] == pytest.approx(2 * once["gates"])
    assert longer["duration_ns"] > once["duration_ns"]


def test_the_region_is_where_the_job_would_run_alone(client, orders):
    (predicted,) = ask(client, orders).json()["predictions"]
    job_id = orders.submit(client, orders.of(options={"isolation": "exclusive"}))
    assert orders.finished(client, job_id)["state"] == "done"
    assert client.get(f"/v1/jobs/{job_id}/metering").json()["placement"] == predicted["region"]


def test_on_the_device_a_circuit_stays_where_it_is(client, orders):
    circuit = QuantumCircuit(127, 1)
    circuit.sx([3, 90])
    circuit.measure(90, 0)
    (predicted,) = ask(client, orders, circuit, backend="eagle127").json()["predictions"]
    assert predicted["region"] == [3, 90]


def test_parameters_may_be_free_and_measurements_absent(client, orders):
    circuit = QuantumCircuit(2)
    circuit.rz(Parameter("t"), 0)
    circuit.sx([0, 1])
    answer = ask(client, orders, circuit)
    assert answer.status_code == 200
    assert answer.json()["predictions"][0]["readout"] == 0.0


def test_circuits_that_cannot_run_are_refused_as_in_a_job(client, orders, refused):
    foreign = QuantumCircuit(5, 1)
    foreign.cx(0, 1)
    assert refused(ask(client, orders, foreign), "not_isa")["field"] == "circuits[0]"
    refused(ask(client, orders, backend="eagle127:line-999"), "unknown_backend")
    payload = {"codec": "qpy+zlib", "data": "AAAA"}
    refused(client.post(f"/v1/backends/{orders.BACKEND}/predict", json={"circuits": payload}), "invalid_circuit")
    refused(client.post(f"/v1/backends/{orders.BACKEND}/predict", json={}), "invalid_request")


def test_very_long_circuits_are_refused_before_the_server_is_kept_busy(client, orders, refused):
    circuit = QuantumCircuit(1, 1)
    for _ in range(MAX_OPERATIONS // 4):
        circuit.rz(0.1, 0)
        circuit.sx(0)
    circuit.measure(0, 0)
    assert str(MAX_OPERATIONS) in refused(ask(client, orders, circuit, circuit), "limit_exceeded")["detail"]
    assert ask(client, orders, circuit).status_code == 200
