"""The example circuits compute what their comments claim, without noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit, qasm2, qasm3
from qiskit.quantum_info import SparsePauliOp, Statevector

CIRCUITS = Path(__file__).parents[2] / "examples" / "circuits"


def load(name: str) -> QuantumCircuit:
    """The circuit of a file, read with the parser that the file's version line names."""
    path = CIRCUITS / f"{name}.qasm"
    version = next(line for line in path.read_text().splitlines() if line.startswith("OPENQASM"))
    return qasm2.load(path) if version == "OPENQASM 2.0;" else qasm3.load(path)


def unmeasured(circuit: QuantumCircuit) -> tuple[QuantumCircuit, list[int]]:
    """The circuit before its final measurements, and the qubit that each classical bit read."""
    measured = {
        circuit.find_bit(instruction.clbits[0]).index: circuit.find_bit(instruction.qubits[0]).index
        for instruction in circuit.data
        if instruction.operation.name == "measure"
    }
    before = circuit.remove_final_measurements(inplace=False)
    assert before is not None
    assert before.count_ops().get("measure", 0) == 0
    return before, [measured[clbit] for clbit in range(len(measured))]


def probabilities(name: str) -> dict[str, float]:
    """Exact outcome probabilities above 1e-9, keyed as Qiskit prints counts."""
    before, qubits = unmeasured(load(name))
    outcomes = Statevector(before).probabilities_dict(qubits)
    return {str(outcome): float(p) for outcome, p in outcomes.items() if p > 1e-9}


def cut(bits: str) -> int:
    """Edges of the ring whose ends are on different sides."""
    return sum(bits[i] != bits[i - 1] for i in range(len(bits)))


@pytest.mark.parametrize("path", sorted(CIRCUITS.glob("*.qasm")), ids=lambda path: path.stem)
def test_a_circuit_is_small_and_measures_into_one_register_called_meas(path: Path) -> None:
    circuit = load(path.stem)
    assert circuit.num_qubits <= 7
    assert [register.name for register in circuit.cregs] == ["meas"]
    assert circuit.count_ops()["measure"] == circuit.num_clbits


def test_every_circuit_has_a_test_here() -> None:
    source = Path(__file__).read_text()
    assert [path.stem for path in CIRCUITS.glob("*.qasm") if f'"{path.stem}"' not in source] == []


def test_ghz_reads_all_zeros_or_all_ones_evenly() -> None:
    assert probabilities("ghz_5") == pytest.approx({"00000": 0.5, "11111": 0.5})


def test_w_state_shares_one_excitation_equally() -> None:
    assert probabilities("w_state_5") == pytest.approx({f"{1 << qubit:05b}": 0.2 for qubit in range(5)})


def test_fourier_transform_finds_the_period() -> None:
    assert probabilities("qft_4") == pytest.approx({"0000": 0.25, "0100": 0.25, "1000": 0.25, "1100": 0.25})


def test_inverse_fourier_transform_reads_the_phase() -> None:
    assert probabilities("qft_5") == pytest.approx({f"{19:05b}": 1.0})


def test_bernstein_vazirani_reads_the_secret_in_one_shot() -> None:
    assert probabilities("bernstein_vazirani_5") == pytest.approx({"1011": 1.0})


def test_grover_finds_the_marked_string() -> None:
    assert probabilities("grover_3")["101"] == pytest.approx(121 / 128)


def test_qaoa_reaches_three_quarters_of_the_ring_and_favours_the_best_cuts() -> None:
    found = probabilities("qaoa_maxcut_ring_5")
    assert sum(p * cut(bits) for bits, p in found.items()) == pytest.approx(3.75)
    assert sum(p for bits, p in found.items() if cut(bits) == 4) > 2 * 10 / 32
    assert sorted(found, key=lambda bits: found[bits])[-10:] == sorted(
        (bits for bits in found if cut(bits) == 4), key=lambda bits: found[bits]
    )


def test_the_vqe_ansatz_is_within_a_thousandth_of_the_ground_state() -> None:
    before, qubits = unmeasured(load("vqe_ising_5"))
    assert qubits == list(range(5))
    chain = [("ZZ", [i, i + 1], -1.0) for i in range(4)] + [("X", [i], -1.0) for i in range(5)]
    hamiltonian = SparsePauliOp.from_sparse_list(chain, num_qubits=5)
    ground = float(np.linalg.eigvalsh(hamiltonian.to_matrix())[0])
    energy = float(np.real(Statevector(before).expectation_value(hamiltonian)))
    assert ground == pytest.approx(-6.0267, abs=1e-4)
    assert ground <= energy < 0.999 * ground
