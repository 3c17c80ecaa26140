"""The published crosstalk: what calibrations measured, restricted to what a backend has, and never the truth."""

from __future__ import annotations

import pytest

from qpu_sdk.wire.crosstalk import CrosstalkDocument

DEVICE = "eagle127"


@pytest.fixture(scope="module")
def published(server):
    """The crosstalk of a backend, as somebody with a key of it sees it."""
    client = server.client(server.key(server.tenant()))

    def of(name: str) -> CrosstalkDocument:
        return CrosstalkDocument.model_validate_json(
            client.get(f"/v1/backends/{name}/crosstalk").raise_for_status().text
        )

    return of


def test_every_working_coupler_has_the_zz_of_the_newest_calibration(server, published):
    snapshot = server.service.door.fleet.calibrated(DEVICE).snapshot
    document = published(DEVICE)
    usable = {edge: hz for edge, hz in snapshot.zz_hz.items() if set(edge) <= set(snapshot.usable_qubits)}
    assert len(document.zz) > 100
    assert {one.qubits: one.zz_hz for one in document.zz} == usable


def test_pairs_of_couplers_that_disturb_each_other_are_rare_and_worse_than_the_ordinary(published):
    document = published(DEVICE)
    assert document.simultaneous
    for pair in document.simultaneous:
        one, other = pair.couplers
        assert not set(one) & set(other)
        assert pair.ratio > document.ordinary_ratio >= 1.0


def test_every_working_qubit_is_in_at_most_one_readout_group(published):
    qubits = [qubit for group in published(DEVICE).readout_groups for qubit in group]
    assert len(qubits) == len(set(qubits)) > 100


def test_a_virtual_backend_tells_a_median_and_nothing_of_fixed_qubits(published):
    chip, line = published(DEVICE), published(f"{DEVICE}:line-5")
    assert [one.qubits for one in line.zz] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    strengths = sorted(abs(one.zz_hz) for one in chip.zz)
    assert strengths[0] < line.zz[0].zz_hz < strengths[-1]
    assert line.simultaneous == line.readout_groups == []
    assert line.calibration_id == chip.calibration_id


def test_zz_is_measured_and_so_changes_with_a_calibration_while_the_rest_stays(own_server):
    server = own_server()
    client = server.client(server.key(server.tenant()))
    path = f"/v1/backends/{DEVICE}/crosstalk"
    before = CrosstalkDocument.model_validate_json(client.get(path).text)
    while server.service.calibration.calibrate(DEVICE).after is None:
        pass
    after = CrosstalkDocument.model_validate_json(client.get(path).text)
    assert after.calibration_id != before.calibration_id
    assert [one.zz_hz for one in after.zz] != [one.zz_hz for one in before.zz]
    assert after.simultaneous == before.simultaneous
