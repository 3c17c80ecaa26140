"""Documents that declare, include or hide too much: refused before or in the limited child, with which words."""

from __future__ import annotations

import json
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from qiskit import QuantumCircuit, qasm3
from qiskit.circuit import Parameter

from qpu_backend.engines.decoded import DecodingRequest
from qpu_backend.engines.decoding_pool import DecodingPool
from qpu_backend.engines.invalid_circuit import (
    ForbiddenInclude,
    InvalidCircuit,
    MalformedCircuit,
    TooMuchDeclared,
    UnsupportedInstruction,
    UnsupportedQpyVersion,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

from orders.decoding import LIMITS, decode, decode_bytes, decode_programs, written


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodingPool]:
    with DecodingPool(1, LIMITS) as pool:
        yield pool


# --- OpenQASM ---------------------------------------------------------------------------------------------------------


def test_openqasm_written_by_qiskit_comes_back_as_the_circuit(pool: DecodingPool):
    angle = Parameter("a")
    circuit = QuantumCircuit(2, 2)
    circuit.rz(angle, 0)
    circuit.sx(1)
    circuit.id(1)
    circuit.ecr(0, 1)
    circuit.rzz(angle, 0, 1)
    circuit.rzz(0.5, 0, 1)
    circuit.measure([0, 1], [0, 1])
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    values = np.array([[0.125]])
    ours = decode_programs(pool, qasm3.dumps(circuit), values=values)
    theirs = decode(pool, circuit, values=values)
    assert ours.circuits[0].digest() == theirs.circuits[0].digest()
    assert ours.angles[0].tolist() == [[0.125]]


def test_a_gate_that_only_calls_itself_ecr_is_refused(pool: DecodingPool):
    program = "OPENQASM 3.0; include 'stdgates.inc'; gate ecr a, b { cx a, b; } qubit[2] q; ecr q[0], q[1];"
    with pytest.raises(UnsupportedInstruction, match="'ecr'"):
        decode_programs(pool, program)


@pytest.mark.parametrize(
    "include",
    [
        'include "/etc/passwd";',
        "include '/etc/passwd';",
        'include\n  "../secrets.inc";',
        'include/* */"/etc/passwd";',
        'include // "\n "/etc/passwd";',
        'pragma "\ninclude "/etc/passwd"; // "',
        'include "stdgates.inc"; include "/proc/self/environ";',
        'pragma "/*"\ninclude "/etc/passwd"; // */',
    ],
)
def test_openqasm_that_includes_a_file_is_refused_before_it_is_parsed(pool: DecodingPool, include: str):
    with pytest.raises(ForbiddenInclude, match="include"):
        decode_programs(pool, f"OPENQASM 3.0; {include} qubit[1] q;")


@pytest.mark.parametrize(
    "declaration", ["qubit[100000000] q;", "bit[999999999999999] c;", "reset $50000000;", "qreg q[10_000_000];"]
)
def test_openqasm_that_declares_too_much_is_refused_before_it_is_parsed(pool: DecodingPool, declaration: str):
    with pytest.raises(TooMuchDeclared, match="limit"):
        decode_programs(pool, f"OPENQASM 3.0; {declaration}")


@pytest.mark.parametrize(
    "document", [b"", b"[", b"{}", b"[]", b"[1]", b"\xff", b"[" * 100_000, json.dumps(["nonsense;"]).encode()]
)
def test_what_is_not_a_list_of_programs_is_refused(pool: DecodingPool, document: bytes):
    with pytest.raises(MalformedCircuit):
        pool.decode(DecodingRequest("qasm3", document, ()))


# --- what the bytes declare -------------------------------------------------------------------------------------------


def header(*, circuits: int = 1, qubits: int = 1, clbits: int = 0, instructions: int = 0, version: int = 15) -> bytes:
    """A QPY document that stops after its first circuit's header."""
    table = b"" if version < 16 else struct.pack("!Q", 28)
    sizes = struct.pack("!H1cHIIQIQI", 1, b"f", 8, qubits, clbits, 2, 0, instructions, 0)
    return (
        struct.pack("!6sBBBBQcc", b"QISKIT", version, 2, 0, 0, circuits, b"p", b"q") + table + sizes + b"c" + bytes(100)
    )


@pytest.mark.parametrize("version", [13, 18])
@pytest.mark.parametrize("sizes", [{"qubits": 10**7}, {"clbits": 10**7}, {"instructions": 2**60}])
def test_a_header_that_declares_too_much_is_refused_without_a_child(version: int, sizes: dict[str, int]):
    from qpu_backend.engines.untrusted import check_qpy_header  # noqa: PLC0415 - shown next to its proof: no pool here

    with pytest.raises(TooMuchDeclared, match="the limit is"):
        check_qpy_header(header(version=version, **sizes), LIMITS, 18)


def test_every_circuits_header_is_read_where_the_document_has_a_table(pool: DecodingPool):
    data = bytearray(written(QuantumCircuit(2), QuantumCircuit(3), version=17))
    (second,) = struct.unpack_from("!Q", data, 28)
    struct.pack_into("!I", data, second + 5, 10**7)
    with pytest.raises(TooMuchDeclared, match="circuit 1 declares 10000000 qubits"):
        decode_bytes(pool, zlib.compress(bytes(data)))


def test_circuits_beyond_the_first_are_checked_where_there_is_no_table(pool: DecodingPool):
    with pytest.raises(TooMuchDeclared, match="circuit 1 declares 200 qubits"):
        decode_bytes(pool, zlib.compress(written(QuantumCircuit(2), QuantumCircuit(200), version=13)))


@pytest.mark.parametrize("version", [0, 1, 10, 12, 19, 255])
def test_qpy_of_another_version_is_refused(pool: DecodingPool, version: int):
    with pytest.raises(UnsupportedQpyVersion, match=f"version {version}"):
        decode_bytes(pool, zlib.compress(header(version=version)))


def test_more_circuits_than_the_limit_are_refused(pool: DecodingPool):
    with pytest.raises(TooMuchDeclared, match="21 circuits"):
        decode(pool, *[QuantumCircuit(1)] * 21)


def test_more_operations_than_the_limit_are_refused_loops_unrolled(pool: DecodingPool):
    body = QuantumCircuit(1)
    body.x(0)
    circuit = QuantumCircuit(1)
    circuit.for_loop(range(10**9), None, body, [0], [])
    with pytest.raises(TooMuchDeclared, match="operations"):
        decode(pool, circuit)


def test_a_zip_bomb_is_refused_at_the_cap(pool: DecodingPool):
    with pytest.raises(TooMuchDeclared, match="inflate"):
        decode_bytes(pool, zlib.compress(bytes(50_000_000)))


def test_every_truncation_is_refused(pool: DecodingPool):
    circuit = QuantumCircuit(2, 2)
    circuit.ecr(0, 1)
    circuit.measure([0, 1], [0, 1])
    whole = written(circuit)
    for length in range(0, len(whole), 7):
        with pytest.raises(InvalidCircuit):
            decode_bytes(pool, zlib.compress(whole[:length]))
    packed = zlib.compress(whole)
    for length in range(0, len(packed), 5):
        with pytest.raises(MalformedCircuit):
            decode_bytes(pool, packed[:length])


def test_a_refusal_shows_neither_a_stack_trace_nor_the_payload(pool: DecodingPool):
    data = written(QuantumCircuit(2, name="secret-name"))
    with pytest.raises(InvalidCircuit) as refusal:
        decode_bytes(pool, zlib.compress(data[:-9]))
    assert "secret" not in str(refusal.value)
    assert "Traceback" not in str(refusal.value)
    assert "\x1b" not in str(refusal.value)
