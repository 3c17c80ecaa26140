"""Measurement level 1 over plain HTTP: what is answered, and what is refused with a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit

from qpu_sdk.wire.models import RESULT_MEDIA_TYPE
from qpu_sdk.wire.results import PointsOfPub, decode_result

LEVEL_1 = {"meas_level": 1, "seed": 5}


def branching() -> QuantumCircuit:
    """A circuit that needs a bit while it runs."""
    circuit = QuantumCircuit(5, 2)
    circuit.measure(0, 0)
    with circuit.if_test((0, 1)):
        circuit.x(1)
    circuit.measure(1, 1)
    return circuit


def result(client, orders, document: dict[str, Any], media_type: str):
    job_id = orders.submit(client, document)
    assert orders.finished(client, job_id)["state"] == "done"
    return client.get(f"/v1/jobs/{job_id}/result", headers={"Accept": media_type})


def test_every_shot_or_the_mean_in_both_formats(client, orders):
    answers = {}
    for meas_return in ("single", "avg"):
        order = orders.of(shots=40, options=LEVEL_1 | {"meas_return": meas_return})
        (packed,) = decode_result(result(client, orders, order, RESULT_MEDIA_TYPE).content).pubs
        assert isinstance(packed, PointsOfPub)
        (plain,) = result(client, orders, order, "application/json").json()["pubs"]
        pairs = np.array(plain["points"])
        assert np.array_equal(pairs[..., 0] + 1j * pairs[..., 1], packed.points)
        assert (plain["shots"], packed.shots) == (40, 40)
        assert plain["registers"] == [{"name": "c", "clbits": [0, 1, 2, 3, 4]}]
        answers[meas_return] = packed.points
    assert answers["single"].shape == (1, 40, 5)
    assert answers["avg"].shape == (1, 5)
    assert np.allclose(answers["avg"], answers["single"].mean(axis=1), rtol=1e-5)


def test_each_backend_publishes_its_discriminators(client):
    for name in ("eagle127", "eagle127:line-5"):
        usable = [qubit for qubit in client.get(f"/v1/backends/{name}").json()["qubits"] if qubit is not None]
        readouts = [qubit["readout"] for qubit in usable]
        assert all(np.hypot(*readout["axis"]) == pytest.approx(1.0) for readout in readouts)
        for readout in readouts:
            along = [np.dot(readout["axis"], readout[centre]) for centre in ("centre_0", "centre_1")]
            assert along[0] < readout["threshold"] < along[1]


def test_a_primitive_works_on_bits(client, orders, refused):
    sampler = orders.of(program="sampler", options=LEVEL_1)
    problem = refused(client.post("/v1/jobs", json=sampler), "invalid_request")
    assert (problem["field"], "a sampler answers in bits" in problem["detail"]) == ("options.meas_level", True)
    estimator = orders.of(program="estimator", options=LEVEL_1)
    problem = refused(client.post("/v1/jobs", json=estimator), "invalid_request")
    assert (problem["field"], "an estimator" in problem["detail"]) == ("options.meas_level", True)


def test_a_branch_needs_bits(client, orders, refused):
    problem = refused(client.post("/v1/jobs", json=orders.of(branching(), options=LEVEL_1)), "invalid_request")
    assert (problem["field"], "if_else" in problem["detail"]) == ("options.meas_level", True)


@pytest.mark.parametrize("meas_return", ["single", "avg"])
def test_the_size_of_all_points_is_bounded_even_after_the_same_circuit_was_fine_in_bits(
    client, orders, refused, meas_return
):
    wide = QuantumCircuit(5, 1000)
    wide.measure(0, 0)
    orders.submit(client, orders.of(wide, shots=50_000))
    order = orders.of(wide, shots=50_000, options=LEVEL_1 | {"meas_return": meas_return})
    problem = refused(client.post("/v1/jobs", json=order), "limit_exceeded")
    assert (problem["field"], "IQ points: 400000000" in problem["detail"]) == ("pubs", True)


def test_the_same_key_for_bits_and_for_points_is_a_conflict(client, orders, refused):
    orders.submit(client, orders.of(options={"seed": 5}), key="twice")
    again = client.post("/v1/jobs", json=orders.of(options=LEVEL_1), headers={"Idempotency-Key": "twice"})
    refused(again, "idempotency_conflict")
