"""The figures of the client: what they count, on small cases."""

from __future__ import annotations

import layout
import sdk
from qiskit.quantum_info import Statevector


def test_a_client_passes_if_none_of_its_tests_failed(tmp_path):
    file = tmp_path / "clients.xml"
    file.write_text(
        """<testsuites><testsuite>
        <testcase classname="tests_clients.test_mitiq" name="a"/>
        <testcase classname="tests_clients.test_mitiq" name="b"><skipped type="pytest.xfail"/></testcase>
        <testcase classname="tests_clients.test_mthree" name="a"/>
        <testcase classname="tests_clients.test_mthree" name="b"><failure/></testcase>
        <testcase classname="tests_clients.test_aer" name="a"><error/></testcase>
        <testcase classname="tests_clients.test_nature" name="a"/>
        </testsuite></testsuites>"""
    )
    assert sdk.client_pass([file]) == 0.5
    assert sdk.client_pass([]) is None


def test_a_mirror_circuit_reads_the_same_in_every_shot_without_noise():
    circuit, right = layout.mirror(4, 3, seed=7)
    circuit.remove_final_measurements()
    assert Statevector(circuit).probabilities_dict(decimals=9) == {right: 1.0}
    assert "1" in right
