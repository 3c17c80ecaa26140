"""A catalogue document → a device model and its first snapshot. Reading the file is somebody else's work."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from qpu_backend.physics.circuit import Op
from qpu_backend.physics.device import ConditionalErrors, Crosstalk, DeviceModel, Timing
from qpu_backend.physics.errors import InvalidDevice
from qpu_backend.physics.snapshot import GateKey, GateProperties, QubitProperties, Snapshot, validate_snapshot
from qpu_backend.physics.topology import Topology

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CATALOGUE_FORMAT: Final = 1

_Part = TypeVar("_Part")

QUBIT_COLUMNS: Final = (
    "t1_us",
    "t2_us",
    "frequency_hz",
    "anharmonicity_hz",
    "prob_meas1_prep0",
    "prob_meas0_prep1",
    "readout_duration_ns",
)


def parse_device(document: Mapping[str, Any]) -> tuple[DeviceModel, Snapshot]:
    """Build and check a device.

    Args:
        document: what ``benchmarks/extract_calibration.py`` writes.

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
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InvalidDevice(field, f"cannot be read: {type(error).__name__}: {error}") from error


def _model(document: Mapping[str, Any]) -> DeviceModel:
    timing = document["timing"]
    low, high = timing["rep_delay_range_us"]
    conditional = document["conditional_errors"]
    gates = {Op[name.upper()] for name in (*document["one_qubit_gates"], *document["two_qubit_gates"])}
    return DeviceModel(
        name=document["name"],
        description=document["description"],
        topology=Topology.of(document["num_qubits"], ((a, b) for a, b, _ in document["couplers"])),
        basis=tuple(sorted(gates | {Op.RZ, Op.DELAY, Op.MEASURE})),
        two_qubit_gate=Op[document["two_qubit_gate"].upper()],
        timing=Timing(
            dt_ns=float(timing["dt_ns"]),
            granularity=timing["granularity"],
            pulse_alignment=timing["pulse_alignment"],
            acquire_alignment=timing["acquire_alignment"],
            rep_delay_us=float(timing["rep_delay_us"]),
            rep_delay_range_us=(float(low), float(high)),
            overhead_s=float(timing["overhead_s"]),
        ),
        crosstalk=Crosstalk(
            conditional=ConditionalErrors(
                ratios={((a, b), (c, d)): float(ratio) for a, b, c, d, ratio in conditional["ratios"]},
                ordinary_ratio=float(conditional["ordinary_ratio"]),
            )
        ),
        source=document["source"],
        licence=document["licence"],
        max_shots=document["max_shots"],
        max_circuits=document["max_circuits"],
    )


def _snapshot(document: Mapping[str, Any]) -> Snapshot:
    if tuple(document["qubit_columns"]) != QUBIT_COLUMNS:
        raise InvalidDevice("qubit_columns", f"are not {', '.join(QUBIT_COLUMNS)}")
    gates: dict[GateKey, GateProperties] = {}
    for name, rows in document["one_qubit_gates"].items():
        for q, row in enumerate(rows):
            if row is not None:
                gates[Op[name.upper()], (q,)] = GateProperties(float(row[0]), float(row[1]))
    for name, rows in document["two_qubit_gates"].items():
        for a, b, error, duration_ns in rows:
            gates[Op[name.upper()], (a, b)] = GateProperties(float(error), float(duration_ns))
    return Snapshot(
        device=document["name"],
        number=1,
        measured_at_us=round(datetime.fromisoformat(document["measured_at"]).timestamp() * 1_000_000),
        device_time_us=0,
        qubits=tuple(None if row is None else QubitProperties(*row) for row in document["qubits"]),
        gates=gates,
        zz_hz={(a, b): float(zz_hz) for a, b, zz_hz in document["couplers"] if zz_hz is not None},
    )
