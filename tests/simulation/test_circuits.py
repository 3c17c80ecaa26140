"""Generated circuits do what their names say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qpu_backend.engines.invalid_circuit import MalformedCircuit
from qpu_backend.engines.transpiling import AbstractCircuit
from qpu_backend.simulation.circuits import FAMILIES, MAX_TEXT_BYTES, circuit_file, generated


def ideal(kind: str, qubits: int) -> dict[str, float]:
    """Noiseless probabilities by word, qubit 0 first."""
    distribution = AbstractCircuit(generated(kind, qubits)).ideal_distribution()
    assert distribution is not None
    words = (f"{index:0{qubits}b}"[::-1] for index in range(len(distribution)))
    return {word: round(float(p), 9) for word, p in zip(words, distribution, strict=True) if p > 1e-9}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_a_circuit_of_every_size_from_its_fewest_qubits_on(family):
    fewest, _ = FAMILIES[family]
    for qubits in range(fewest, 11):
        circuit = AbstractCircuit(generated(f"{family}_n{qubits}", qubits))
        assert circuit.num_qubits == qubits
        distribution = circuit.ideal_distribution()
        assert distribution is not None
        assert distribution.sum() == pytest.approx(1)


@pytest.mark.parametrize("qubits", [2, 5, 9])
def test_a_cat_state_has_two_words_and_a_w_state_one_excitation(qubits):
    assert ideal("cat_state", qubits) == {"0" * qubits: 0.5, "1" * qubits: 0.5}
    words = ideal("wstate", qubits)
    assert set(words) == {"0" * k + "1" + "0" * (qubits - k - 1) for k in range(qubits)}
    assert list(words.values()) == pytest.approx([1 / qubits] * qubits)


def test_the_adder_adds():
    # carry in, then pairs b, a from the least significant bit on, then carry out: 1 + 3 = 4
    (word,) = ideal("adder", 6)
    b = int(word[1]) + 2 * int(word[3]) + 4 * int(word[5])
    a = int(word[2]) + 2 * int(word[4])
    assert (a, b) == (1, 4)
    assert ideal("adder", 4) == {"0011": 1.0}  # 1 + 1 = 2


def test_oracles_give_away_their_secrets():
    assert all(word.startswith("1111") for word in ideal("deutsch", 5))
    assert set(ideal("lpn", 5)) == {"00000", "10101"}
    assert ideal("hs4", 6) == {"101010": 1.0}
    assert all(word[:3].count("1") % 2 == 0 for word in ideal("simon", 6))


def test_grover_finds_what_it_looks_for():
    assert ideal("grover", 2) == {"11": 1.0}
    assert ideal("grover", 3)["111"] > 0.9
    assert sum(p for word, p in ideal("grover", 6).items() if word[:4] == "1111") > 0.9


def test_teleportation_hands_the_state_on():
    chance = sum(p for word, p in ideal("teleportation", 5).items() if word[4] == "1")
    assert chance == pytest.approx(math.sin(0.55) ** 2)


def test_a_memory_ends_with_the_errors_of_its_rounds_undone():
    assert len(ideal("error_correctiond3", 5)) == 1


def test_the_fourier_transform_of_a_word_is_flat():
    assert list(ideal("qft", 4).values()) == pytest.approx([1 / 16] * 16)


def test_particles_are_kept_by_a_change_of_basis():
    for kind, qubits, particles in (("basis_change", 3, 2), ("basis_trotter", 4, 2), ("variational", 4, 2)):
        assert {word.count("1") for word in ideal(kind, qubits)} == {particles}


def test_a_family_that_nobody_knows_is_a_brickwork_that_depends_on_its_name():
    one, other = generated("mystery_n5", 5), generated("riddle_n5", 5)
    assert one == generated("mystery_n5", 5) != other
    assert one.count("cx ") == 10
    assert generated("toffoli_n2", 2).count("u3") == 4


def test_files_are_read_only_from_their_folder(tmp_path):
    folder = tmp_path / "circuits"
    folder.mkdir()
    (tmp_path / "secret.qasm").write_text("x")
    (folder / "bell_n2.qasm").write_text("OPENQASM 2.0;")
    assert circuit_file(folder, "bell_n2") == "OPENQASM 2.0;"
    assert circuit_file(folder, "qft_n4") is None
    assert circuit_file(folder, "../secret") is None
    (folder / "long_n2.qasm").write_text(" " * (MAX_TEXT_BYTES + 1))
    with pytest.raises(MalformedCircuit, match="longer than"):
        circuit_file(folder, "long_n2")


def test_both_versions_of_openqasm_are_read_and_others_refused_in_one_line():
    three = 'OPENQASM 3.0; include "stdgates.inc"; qubit[2] q; bit[2] c; h q[0]; cx q[0], q[1]; c = measure q;'
    distribution = AbstractCircuit(three).ideal_distribution()
    assert distribution is not None
    np.testing.assert_allclose(distribution, [0.5, 0, 0, 0.5], atol=1e-12)
    for text in ("", "OPENQASM 2.0;\nqreg q[2];\nnonsense q[0];", "OPENQASM 3.0;\nnonsense;", "{}"):
        with pytest.raises(MalformedCircuit) as refused:
            AbstractCircuit(text)
        assert "\n" not in refused.value.message
