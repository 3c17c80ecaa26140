"""What is checked of a client's bytes before any child sees them: sizes, headers and includes. Nothing is decoded.

The layout of QPY is Qiskit's (``qiskit.qpy``, versions 13 and later): a file header of 19 bytes, a type key, from
version 16 a table of circuit offsets, then the circuits, each beginning with a header of 37 bytes that declares sizes.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, cast

from qpu_backend.engines.invalid_circuit import (
    ForbiddenInclude,
    MalformedCircuit,
    TooMuchDeclared,
    UnsupportedQpyVersion,
)

if TYPE_CHECKING:
    from qpu_backend.engines.decoded import DecodingLimits

MIN_QPY_VERSION: Final = 13
_TABLE_SINCE: Final = 16
_MAGIC: Final = b"QISKIT"
_FILE_HEADER: Final = struct.Struct("!6sBBBBQcc")
"""Magic, version, Qiskit's version in three parts, circuits, symbolic encoding, type key (``q`` for circuits)."""
_CIRCUIT_HEADER: Final = struct.Struct("!H1cHIIQIQI")
"""Sizes of name and phase, then qubits, clbits, size of metadata, registers, instructions, variables."""

_COMMENT: Final = re.compile(r"//[^\n\r]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
# Every pattern is linear in the text: these run in the API process.
_INCLUDE: Final = re.compile(r"\binclude\s*(\"[^\"]*\"?|'[^']*'?)")
_ALLOWED_INCLUDE: Final = frozenset({'"stdgates.inc"', "'stdgates.inc'"})
_DECLARED_SIZE: Final = re.compile(
    r"\b(qubit|qreg|bit|creg)\s*\[\s*([0-9_]+)\s*\]|\b(?:qreg|creg)\s+\w+\s*\[\s*([0-9_]+)\s*\]"
)
_HARDWARE_QUBIT: Final = re.compile(r"\$([0-9]+)")
_MAX_DIGITS: Final = 9


def inflate(data: bytes, limits: DecodingLimits) -> bytes:
    """A zlib stream → bytes, never more than ``limits.max_inflated_bytes`` of them.

    Raises:
        MalformedCircuit: not one complete zlib stream.
        TooMuchDeclared: it inflates to more.
    """
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(data, limits.max_inflated_bytes + 1)
    except zlib.error:
        raise MalformedCircuit("the circuits are not a zlib stream") from None
    if len(inflated) > limits.max_inflated_bytes:
        raise TooMuchDeclared(f"the circuits inflate to more than the limit of {limits.max_inflated_bytes} bytes")
    if not stream.eof or stream.unused_data:
        raise MalformedCircuit("the circuits are a truncated zlib stream, or something follows it")
    return inflated


def check_qpy_header(qpy: bytes, limits: DecodingLimits, max_version: int) -> int:
    """Refuse QPY by what its headers declare; return the number of circuits.

    From version 16 on every circuit's header is read; before, the first one's: the others are only reached by decoding.

    Raises:
        MalformedCircuit: not QPY, or truncated.
        UnsupportedQpyVersion: a version outside 13 … ``max_version``.
        TooMuchDeclared: more circuits, qubits, classical bits or instructions than the limits.
    """
    if len(qpy) < len(_MAGIC) + 1 or not qpy.startswith(_MAGIC):
        raise MalformedCircuit("the circuits are not QPY")
    version = qpy[len(_MAGIC)]
    if not MIN_QPY_VERSION <= version <= max_version:
        raise UnsupportedQpyVersion(
            f"the circuits are QPY version {version}; this service reads {MIN_QPY_VERSION} to {max_version}: "
            f"write them with qpy.dump(…, version={max_version})"
        )
    if len(qpy) < _FILE_HEADER.size:
        raise MalformedCircuit("the circuits are truncated in the file header")
    num_circuits, _, type_key = _FILE_HEADER.unpack_from(qpy)[5:]
    if type_key != b"q":
        raise MalformedCircuit("the QPY document holds something else than circuits")
    if num_circuits == 0:
        raise MalformedCircuit("the QPY document holds no circuit")
    if num_circuits > limits.max_circuits:
        raise TooMuchDeclared(f"{num_circuits} circuits are more than the limit of {limits.max_circuits} a job")
    instructions = 0
    for circuit, offset in enumerate(_circuit_offsets(qpy, version, num_circuits)):
        instructions += _check_circuit_header(qpy, offset, circuit, limits)
    _at_most(instructions, limits.max_operations, "instructions", None)
    return num_circuits


def _circuit_offsets(qpy: bytes, version: int, num_circuits: int) -> tuple[int, ...]:
    if version < _TABLE_SINCE:
        return (_FILE_HEADER.size,)
    table = struct.Struct(f"!{num_circuits}Q")
    first = _FILE_HEADER.size + table.size
    if len(qpy) < first:
        raise MalformedCircuit("the circuits are truncated in the table of circuits")
    offsets: tuple[int, ...] = table.unpack_from(qpy, _FILE_HEADER.size)
    if offsets[0] != first or any(after <= before for before, after in pairwise(offsets)):
        raise MalformedCircuit("the table of circuits is not in order")
    return offsets


def _check_circuit_header(qpy: bytes, offset: int, circuit: int, limits: DecodingLimits) -> int:
    if offset + _CIRCUIT_HEADER.size > len(qpy):
        raise MalformedCircuit("the circuits are truncated in a circuit header", circuit=circuit)
    _, _, _, qubits, clbits, metadata_bytes, registers, instructions, _ = _CIRCUIT_HEADER.unpack_from(qpy, offset)
    _at_most(qubits, limits.max_qubits, "qubits", circuit)
    _at_most(clbits, limits.max_clbits, "classical bits", circuit)
    _at_most(instructions, limits.max_operations, "instructions", circuit)
    if metadata_bytes > len(qpy) or registers > len(qpy):
        raise MalformedCircuit("a circuit header declares more than the document holds", circuit=circuit)
    return int(instructions)


def _at_most(count: int, limit: int, what: str, circuit: int | None) -> None:
    if count > limit:
        whose = "the circuits declare" if circuit is None else f"circuit {circuit} declares"
        raise TooMuchDeclared(f"{whose} {count} {what}; the limit is {limit}", circuit=circuit)


def read_qasm3(data: bytes, limits: DecodingLimits) -> list[str]:
    """JSON list of OpenQASM 3 programs → the programs, checked for size, includes and declared sizes.

    Raises:
        MalformedCircuit: not such a list.
        TooMuchDeclared: too much of it, or a register beyond the limits.
        ForbiddenInclude: a program includes something else than ``stdgates.inc``.
    """
    if len(data) > limits.max_inflated_bytes:
        raise TooMuchDeclared(f"the programs are longer than the limit of {limits.max_inflated_bytes} bytes")
    try:
        document: Any = json.loads(data.decode())
    except (ValueError, RecursionError):
        raise MalformedCircuit("the circuits are not a JSON list of OpenQASM 3 programs in UTF-8") from None
    if not isinstance(document, list) or not document:
        raise MalformedCircuit("the circuits are not a JSON list of OpenQASM 3 programs")
    entries = cast("list[object]", document)
    if len(entries) > limits.max_circuits:
        raise TooMuchDeclared(f"{len(entries)} circuits are more than the limit of {limits.max_circuits} a job")
    programs: list[str] = []
    for circuit, entry in enumerate(entries):
        if not isinstance(entry, str):
            raise MalformedCircuit(f"circuit {circuit} is not a string", circuit=circuit)
        _check_includes(entry, circuit)
        _check_declared_sizes(_COMMENT.sub(" ", entry), circuit, limits)
        programs.append(entry)
    return programs


def _check_includes(program: str, circuit: int) -> None:
    # Read twice, so that neither a quote in a comment nor a comment in a quote can hide one. (The importer opens no
    # file for any include either, and a child cannot open files at all.)
    for text in (program, _COMMENT.sub(" ", program)):
        for match in _INCLUDE.finditer(text):
            if match.group(1) not in _ALLOWED_INCLUDE:
                message = f"circuit {circuit} includes {match.group(1)[:80]}; only stdgates.inc is known here"
                raise ForbiddenInclude(message, circuit=circuit)


def _check_declared_sizes(program: str, circuit: int, limits: DecodingLimits) -> None:
    for match in _DECLARED_SIZE.finditer(program):
        kind = match.group(1) or match.group(0)[:4]
        size = _number(match.group(2) or match.group(3))
        if kind in {"qubit", "qreg"}:
            _at_most(size, limits.max_qubits, "qubits", circuit)
        else:
            _at_most(size, limits.max_clbits, "classical bits", circuit)
    for match in _HARDWARE_QUBIT.finditer(program):
        _at_most(_number(match.group(1)) + 1, limits.max_qubits, "qubits", circuit)


def _number(digits: str) -> int:
    plain = digits.replace("_", "").lstrip("0")
    return int(plain or "0") if len(plain) <= _MAX_DIGITS else 10**_MAX_DIGITS
