"""A catalogue document → a device model and its first snapshot. Reading the file is somebody else's work."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from qpu_backend.physics.catalog.compose import CATALOGUE_FORMAT, QUBIT_COLUMNS
from qpu_backend.physics.circuit import ONE_QUBIT_GATES, TWO_QUBIT_GATES, Op
from qpu_backend.physics.device import ConditionalErrors, Crosstalk, DeviceModel, Drive, Timing
from qpu_backend.physics.errors import InvalidDevice
from qpu_backend.physics.snapshot import GateKey, GateProperties, QubitProperties, Snapshot
from qpu_backend.physics.topology import Topology
from qpu_backend.physics.validation import validate_snapshot, validate_timing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_Part = TypeVar("_Part")

COUPLERS = ("fixed", "tunable")

_OPS_OF_TABLE = {"one_qubit_gates": ONE_QUBIT_GATES | {Op.RESET}, "two_qubit_gates": TWO_QUBIT_GATES}


def parse_device(document: Mapping[str, Any]) -> tuple[DeviceModel, Snapshot]:
    """Build and check a device.

    Args:
        document: what :func:`qpu_backend.physics.catalog.compose.compose` makes, from JSON or not.

    Returns:
        The model, and snapshot number 1 at device time 0.

    Raises:
        InvalidDevice: an entry is missing or of another kind.
        InvalidSnapshot: numbers that no device can have.
    """
    if document.get("format") != CATALOGUE_FORMAT:
        raise InvalidDevice("format", f"is not {CATALOGUE_FORMAT}")
    model = _entry("model", document, _model)
    snapshot = _entry("calibration", document, _snapshot)
    if len(snapshot.qubits) != model.num_qubits:
        raise InvalidDevice("qubits", f"has {len(snapshot.qubits)} rows for {model.num_qubits} qubits")
    return model, validate_snapshot(snapshot, edges=model.topology.edges)


def _entry(field: str, document: Mapping[str, Any], read: Callable[[Mapping[str, Any]], _Part]) -> _Part:
    try:
        return read(document)
    except InvalidDevice:
        raise
    except KeyError as error:
        raise InvalidDevice(str(error.args[0]), f"is missing in the {field}") from error
    except (TypeError, ValueError, IndexError) as error:
        raise InvalidDevice(field, f"cannot be read: {type(error).__name__}: {error}") from error


def _op(table: str, name: str) -> Op:
    op = Op.__members__.get(name.upper())
    if op is None or op not in _OPS_OF_TABLE[table]:
        known = ", ".join(sorted(op.name.lower() for op in _OPS_OF_TABLE[table]))
        raise InvalidDevice(f"{table}.{name}", f"is not a gate that can be simulated: {known}")
    return op


def _model(document: Mapping[str, Any]) -> DeviceModel:
    timing = document["timing"]
    low, high = timing["rep_delay_range_us"]
    conditional = document["conditional_errors"]
    gates = {_op(table, name) for table in _OPS_OF_TABLE for name in document[table]}
    coupler = document["coupler"]
    if coupler not in COUPLERS:
        raise InvalidDevice("coupler", f"is {coupler!r}, not one of {', '.join(COUPLERS)}")
    if document["num_qubits"] < 1:
        raise InvalidDevice("num_qubits", f"must be at least 1, is {document['num_qubits']}")
    return DeviceModel(
        name=document["name"],
        description=document["description"],
        topology=Topology.of(document["num_qubits"], ((a, b) for a, b, _ in document["couplers"])),
        basis=tuple(sorted(gates | {Op.RZ, Op.DELAY, Op.MEASURE})),
        two_qubit_gate=_op("two_qubit_gates", document["two_qubit_gate"]),
        timing=validate_timing(
            Timing(
                dt_ns=float(timing["dt_ns"]),
                granularity=timing["granularity"],
                pulse_alignment=timing["pulse_alignment"],
                acquire_alignment=timing["acquire_alignment"],
                rep_delay_us=float(timing["rep_delay_us"]),
                rep_delay_range_us=(float(low), float(high)),
                overhead_s=float(timing["overhead_s"]),
            )
        ),
        crosstalk=Crosstalk(
            conditional=ConditionalErrors(
                ratios={((a, b), (c, d)): float(ratio) for a, b, c, d, ratio in conditional["ratios"]},
                ordinary_ratio=float(conditional["ordinary_ratio"]),
            ),
            # Gates of tunable couplers are driven by flux: no microwave spills.
            drive=Drive(rabi_2q_hz=0.0) if coupler == "tunable" else Drive(),
        ),
        source=document["source"],
        licence=document["licence"],
        max_shots=document["max_shots"],
        max_circuits=document["max_circuits"],
        coupler=coupler,
        notes=tuple(document["notes"]),
    )


def _snapshot(document: Mapping[str, Any]) -> Snapshot:
    if tuple(document["qubit_columns"]) != QUBIT_COLUMNS:
        raise InvalidDevice("qubit_columns", f"are not {', '.join(QUBIT_COLUMNS)}")
    gates: dict[GateKey, GateProperties] = {}
    for name, rows in document["one_qubit_gates"].items():
        for q, row in enumerate(rows):
            if row is not None:
                gates[_op("one_qubit_gates", name), (q,)] = GateProperties(float(row[0]), float(row[1]))
    for name, rows in document["two_qubit_gates"].items():
        for a, b, error, duration_ns in rows:
            gates[_op("two_qubit_gates", name), (a, b)] = GateProperties(float(error), float(duration_ns))
    return Snapshot(
        device=document["name"],
        number=1,
        measured_at_us=round(datetime.fromisoformat(document["measured_at"]).timestamp() * 1_000_000),
        device_time_us=0,
        qubits=tuple(None if row is None else QubitProperties(*row) for row in document["qubits"]),
        gates=gates,
        zz_hz={(a, b): float(zz_hz) for a, b, zz_hz in document["couplers"] if zz_hz is not None},
    )
