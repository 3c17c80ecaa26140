"""Orders to the decoding pool, and what its answers look like."""

from __future__ import annotations

import io
import json
import zlib
from typing import TYPE_CHECKING, Any

from qiskit import QuantumCircuit, qpy

from qpu_backend.engines.decoded import DecodingLimits, DecodingRequest, PubBinding
from qpu_backend.physics.circuit import Op

if TYPE_CHECKING:
    from qpu_backend.engines.decoded import Decoded
    from qpu_backend.engines.decoding_pool import DecodingPool
    from qpu_backend.physics.circuit import IsaCircuit

LIMITS = DecodingLimits(
    max_inflated_bytes=1 << 20, max_circuits=20, max_qubits=127, max_clbits=500, max_operations=5_000
)


def written(*circuits: QuantumCircuit, version: int | None = None) -> bytes:
    document = io.BytesIO()
    qpy.dump(list(circuits), document, **({} if version is None else {"version": version}))
    return document.getvalue()


def decode(pool: DecodingPool, *circuits: QuantumCircuit, values: Any = None, dt_ns: float | None = 0.5) -> Decoded:
    pubs = tuple(PubBinding(index, values) for index in range(len(circuits)))
    return pool.decode(DecodingRequest("qpy+zlib", zlib.compress(written(*circuits)), pubs, dt_ns))


def decode_bytes(pool: DecodingPool, data: bytes) -> Decoded:
    return pool.decode(DecodingRequest("qpy+zlib", data, (PubBinding(0),)))


def decode_programs(pool: DecodingPool, *programs: str, values: Any = None) -> Decoded:
    pubs = tuple(PubBinding(index, values) for index in range(len(programs)))
    return pool.decode(DecodingRequest("qasm3", json.dumps(programs).encode(), pubs, 0.5))


def rows(circuit: IsaCircuit) -> list[tuple[Any, ...]]:
    return [(Op(int(row["code"])), int(row["q0"]), int(row["q1"]), int(row["clbit"])) for row in circuit.operations]
