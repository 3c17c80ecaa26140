"""Any Qiskit ``BackendV2`` → a device model and its first snapshot; what the backend does not say is assumed and noted.

Read are the target and, where the backend has them, IBM's ``properties()`` (both assignment errors, anharmonicity). A
qubit or gate that is absent from the target is out of order. Static ZZ is published by no target and assumed.
"""

# Qiskit ships no types.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from itertools import permutations
from typing import TYPE_CHECKING, Any, Final

from qiskit.circuit import ParameterExpression

from qpu_backend.physics.catalog.compose import (
    NEEDED_NAMES,
    ORDINARY_RATIO,
    OVERHEAD_S,
    TWO_QUBIT_NAMES,
    Facts,
    OneQubitGates,
    QubitRow,
    TwoQubitGates,
    compose,
    listed,
)
from qpu_backend.physics.catalog.parse import parse_device
from qpu_backend.physics.errors import InvalidDevice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qiskit.providers import BackendV2

    from qpu_backend.physics.device import DeviceModel
    from qpu_backend.physics.snapshot import Snapshot

ASSUMED_T1_US: Final = 1e4
"""So long that relaxation costs less than any published gate error."""
ASSUMED_DURATION_NS: Final = {1: 50.0, 2: 300.0}
"""By number of qubits; ``rz`` takes no time."""
ASSUMED_READOUT_NS: Final = 1000.0
ASSUMED_DT_NS: Final = 1.0
REP_DELAY_US: Final = (250.0, (0.0, 500.0))

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}", re.ASCII)
_ONE_QUBIT_NAMES: Final = ("rz", "sx", "x", "id", "reset")
_ANGLED: Final = frozenset({"rz", "rzz"})
_NO_GATES: Final = frozenset({"measure", "delay", "barrier"})
_UNDATED: Final = "1970-01-01T00:00:00+00:00"


def from_backend(
    backend: BackendV2, name: str | None = None, *, coupler: str | None = None
) -> tuple[DeviceModel, Snapshot]:
    """A device model of a backend, with snapshot number 1.

    Args:
        backend: of any provider, real or fake; nothing is run on it.
        name: catalogue name; the backend's own by default, in lower case.
        coupler: ``fixed`` or ``tunable``; guessed from the gates by default: ``cz`` alone means tunable.

    Returns:
        The model, whose ``notes`` say what is assumed, and the snapshot.

    Raises:
        InvalidDevice: what it describes is no device that can be simulated; the message names the entry or the gate.
        InvalidSnapshot: its numbers are ones that no device can have.
    """
    return parse_device(describe_backend(backend, name, coupler=coupler))


def describe_backend(backend: BackendV2, name: str | None = None, *, coupler: str | None = None) -> dict[str, Any]:
    """The catalogue document of a backend, to be written to a file or parsed; see :func:`from_backend`.

    Raises:
        InvalidDevice: see :func:`from_backend`.
    """
    target: Any = backend.target
    num_qubits = target.num_qubits
    if not num_qubits:
        raise InvalidDevice("num_qubits", f"must be at least 1, is {num_qubits}")
    seen = _Seen(target, int(num_qubits), _properties(backend))
    one, two = seen.gates()
    kind = coupler or ("tunable" if two.keys() & {"cz", "rzz"} and not two.keys() & {"ecr", "cx"} else "fixed")
    if kind not in ORDINARY_RATIO:
        raise InvalidDevice("coupler", f"is {kind!r}, not one of {', '.join(ORDINARY_RATIO)}")
    if coupler is None and two:
        seen.notes.append(f"Couplers are assumed to be {kind}, after the gate {next(iter(two))}.")
    qubits = [seen.qubit(q) for q in range(seen.num_qubits)]
    dt_s = target.dt or backend.dt
    if dt_s is None:
        seen.notes.append(f"dt is not published: {ASSUMED_DT_NS:g} ns assumed.")
    seen.notes.append("The delay between shots and the overhead of a batch are assumed.")
    rep_delay_us, rep_delay_range_us = REP_DELAY_US
    dated = getattr(seen.properties, "last_update_date", None)
    return compose(
        Facts(
            name=_catalogue_name(name, backend),
            description=f"{seen.num_qubits}-qubit backend {backend.name or type(backend).__name__}",
            source=f"{backend.name} {backend.backend_version or ''}".strip() + f", {type(backend).__module__}",
            licence="that of the backend",
            measured_at=_UNDATED if dated is None else dated.isoformat(),
            couplers=sorted({(min(a, b), max(a, b)) for rows in two.values() for a, b, _, _ in rows}),
            coupler=kind,
            qubits=qubits,
            one_qubit_gates=one,
            two_qubit_gates=two,
            zz_hz={},
            timing={
                "dt_ns": ASSUMED_DT_NS if dt_s is None else _scaled(dt_s, 1e9),
                "granularity": target.granularity,
                "pulse_alignment": target.pulse_alignment,
                "acquire_alignment": target.acquire_alignment,
                "rep_delay_us": rep_delay_us,
                "rep_delay_range_us": rep_delay_range_us,
                "overhead_s": OVERHEAD_S,
            },
            ordinary_ratio=ORDINARY_RATIO[kind],
            notes=seen.all_notes(),
            max_circuits=backend.max_circuits or 300,
        )
    )


@dataclass(slots=True)
class _Seen:
    """A target while it is read, with what turned out to be missing.

    Attributes:
        missing: what is missing → where, and of how many places.
        notes: the rest.
    """

    target: Any
    num_qubits: int
    properties: Any
    missing: dict[str, tuple[list[object], int]] = field(default_factory=dict[str, tuple[list[object], int]])
    notes: list[str] = field(default_factory=list[str])

    def gates(self) -> tuple[OneQubitGates, TwoQubitGates]:
        """Every gate the simulator knows.

        Raises:
            InvalidDevice: two qubits are joined by unknown gates only, a one-qubit gate is missing, or nothing can be
                measured.
        """
        one: OneQubitGates = {}
        two: TwoQubitGates = {}
        unknown: dict[str, set[frozenset[int]]] = {}
        for entry in self.target.operation_names:
            operation = self.target.operation_from_name(entry)
            if isinstance(operation, type) or operation.name in _NO_GATES:
                continue  # control flow, and what every device has
            name = operation.name
            known = (name in _ONE_QUBIT_NAMES or name in TWO_QUBIT_NAMES) and _means_itself(operation)
            places = self._places(entry, operation.num_qubits) if known or operation.num_qubits == 2 else {}
            if not known:
                unknown[entry] = {frozenset(pair) for pair in places}
            elif operation.num_qubits == 1:
                one[name] = [None] * self.num_qubits
                for (q,), found in places.items():
                    one[name][q] = list(self._gate(name, (q,), found, len(places)))
            else:
                two[name] = [(a, b, *self._gate(name, (a, b), found, len(places))) for (a, b), found in places.items()]
        self._require(one, two, unknown)
        if unknown:
            self.notes.append(f"Left out, because they cannot be simulated: {', '.join(sorted(unknown))}.")
        return one, {name: two[name] for name in TWO_QUBIT_NAMES if name in two}

    def _require(self, one: OneQubitGates, two: TwoQubitGates, unknown: Mapping[str, set[frozenset[int]]]) -> None:
        """Refuse a target that lacks a gate which every circuit needs, or joins qubits by an unknown one."""
        joined = {frozenset((a, b)) for rows in two.values() for a, b, _, _ in rows}
        for entry, places in unknown.items():
            alone = sorted(sorted(pair) for pair in places - joined)
            if alone:
                raise InvalidDevice(
                    f"target.{entry}",
                    f"is a two-qubit gate that cannot be simulated ({', '.join(TWO_QUBIT_NAMES)} can), and the only "
                    f"one on qubits {alone[0]}",
                )
        for name in NEEDED_NAMES:
            if name not in one:
                raise InvalidDevice(
                    f"target.{name}",
                    f"is missing: circuits are made of {', '.join(NEEDED_NAMES)} and a two-qubit gate, and this "
                    f"backend has {', '.join(sorted(self.target.operation_names))}",
                )
        if "measure" not in self.target.operation_names:
            raise InvalidDevice("target.measure", "is missing: nothing can be measured")

    def qubit(self, q: int) -> QubitRow | None:
        """A row of the catalogue; ``None`` for a qubit that cannot be measured."""
        measured = self._places("measure", 1)
        if (q,) not in measured:
            self._lacks("measurement: unusable", q)
            return None
        published = self.properties.qubit_property(q) if self.properties is not None else {}
        target_row = (self.target.qubit_properties or [None] * self.num_qubits)[q]
        t1_s, t2_s, frequency_hz = (
            _first(getattr(target_row, ours, None), published.get(theirs, (None,))[0])
            for ours, theirs in (("t1", "T1"), ("t2", "T2"), ("frequency", "frequency"))
        )
        t1_us = ASSUMED_T1_US if t1_s is None else _scaled(t1_s, 1e6)
        t2_us = 2 * t1_us if t2_s is None else _scaled(t2_s, 1e6)
        for what, value in ((f"T1: {ASSUMED_T1_US / 1e3:g} ms", t1_s), ("T2: 2 T1", t2_s)):
            if value is None:
                self._lacks(f"{what} assumed", q)
        if not frequency_hz:
            self._lacks("frequency", q)
        error, duration_s = _error_and_duration(measured[q,])
        split = [published.get(key, (None,))[0] for key in ("prob_meas1_prep0", "prob_meas0_prep1")]
        if None in split:
            self._lacks("readout error: 0 assumed" if error is None else "split of the readout error: even", q)
            split = [error or 0.0] * 2
        if duration_s is None:
            self._lacks(f"readout duration: {ASSUMED_READOUT_NS:g} ns assumed", q)
        return [
            t1_us,
            t2_us,
            frequency_hz or None,
            published.get("anharmonicity", (None,))[0] or None,
            *split,
            ASSUMED_READOUT_NS if duration_s is None else _scaled(duration_s, 1e9),
        ]

    def all_notes(self) -> list[str]:
        """What is assumed, and where."""
        notes: list[str] = []
        for what, (where, places) in self.missing.items():
            notes.append(f"Not published: {what}{'' if len(where) == places else f' ({listed(where)})'}.")
        return notes + self.notes

    def _places(self, entry: str, num_qubits: int) -> Mapping[tuple[int, ...], Any]:
        """Qubits → properties; an operation without qubits is one for all of them."""
        places = self.target[entry]
        if places is None or None in places:
            return dict.fromkeys(permutations(range(self.num_qubits), num_qubits))
        return places

    def _gate(self, name: str, qubits: tuple[int, ...], found: Any, places: int) -> tuple[float, float]:
        error, duration_s = _error_and_duration(found)
        if error is None and name not in {"rz", "reset"}:
            self._lacks(f"error of {name}: 0 assumed", _named(qubits), places)
        if duration_s is not None:
            return error or 0.0, _scaled(duration_s, 1e9)
        if name == "rz":
            return error or 0.0, 0.0
        duration_ns = ASSUMED_READOUT_NS if name == "reset" else ASSUMED_DURATION_NS[len(qubits)]
        self._lacks(f"duration of {name}: {duration_ns:g} ns assumed", _named(qubits), places)
        return error or 0.0, duration_ns

    def _lacks(self, what: str, where: object, places: int | None = None) -> None:
        self.missing.setdefault(what, ([], self.num_qubits if places is None else places))[0].append(where)


def _properties(backend: BackendV2) -> Any:
    """IBM's older record of a calibration, or ``None``."""
    ask = getattr(backend, "properties", None)
    found = ask() if callable(ask) else None
    return found if hasattr(found, "qubit_property") else None


def _means_itself(operation: Any) -> bool:
    """Whether an operation of a known name is the whole family: an ``rzz`` of one fixed angle is another gate."""
    angles: Sequence[Any] = operation.params
    return all(isinstance(angle, ParameterExpression) for angle in angles) if operation.name in _ANGLED else not angles


def _error_and_duration(found: Any) -> tuple[float | None, float | None]:
    return (None, None) if found is None else (found.error, found.duration)


def _first(*values: float | None) -> float | None:
    """The first that is published; infinity says nothing."""
    return next((value for value in values if value is not None and not math.isinf(value)), None)


def _scaled(value: float, factor: float) -> float:
    """In other units, without the last digits that the conversion makes up."""
    return float(f"{value * factor:.15g}")


def _named(qubits: tuple[int, ...]) -> object:
    return qubits[0] if len(qubits) == 1 else "→".join(map(str, qubits))


def _catalogue_name(name: str | None, backend: BackendV2) -> str:
    found = re.sub(r"[^a-z0-9_-]+", "-", (backend.name or "").lower()) if name is None else name
    if not _NAME.fullmatch(found):
        raise InvalidDevice("name", f"is {found!r}; it must look like 'eagle127'")
    return found
