"""What a tenant should know of a result besides its numbers: warnings that go into its metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpu_backend.physics.errors import NotCalibrated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qpu_backend.domain.programs import Program
    from qpu_backend.physics.neighbours import PlacedCircuit
    from qpu_backend.physics.snapshot import Snapshot

TOO_LONG: Final = 10.0
"""A circuit that lasts so many times the shortest T1 or T2 of its qubits has forgotten what it began with."""
_TOLD: Final = 5
"""Further ones are counted."""


def caveats(program: Program, circuits: Sequence[PlacedCircuit], calibration: Snapshot) -> tuple[str, ...]:
    """Warnings about circuits that outlive the device's coherence.

    Args:
        program: of the job.
        circuits: its circuits, in place.
        calibration: published one: a tenant is told nothing that it could not look up.
    """
    first_of = {e.circuit: e.pub for e in reversed(program.executions) if e.pub < program.num_pubs}
    named = "circuit" if program.kind == "circuits" else "the circuit of pub"
    told: dict[int, str] = {}
    for number, pub in sorted(first_of.items(), key=lambda entry: entry[1]):
        if pub not in told and (sentence := _outlived(circuits[number], calibration)) is not None:
            told[pub] = f"{named} {pub} {sentence}"
    sentences = list(told.values())
    if len(sentences) > _TOLD:
        sentences[_TOLD:] = [f"and {len(sentences) - _TOLD} more circuits that last too long"]
    return tuple(sentences)


def _outlived(placed: PlacedCircuit, calibration: Snapshot) -> str | None:
    times = {
        (qubit, name): time_us
        for qubit in placed.circuit.qubits
        for name, time_us in _coherence_us(calibration, qubit).items()
    }
    if not times:
        return None
    (qubit, name), shortest_us = min(times.items(), key=lambda entry: entry[1])
    duration_us = 1e-3 * placed.summary.duration_ns
    if duration_us < TOO_LONG * shortest_us:
        return None
    return (
        f"lasts {_told(duration_us)}, {duration_us / shortest_us:.0f} times the {name} of qubit {qubit} "
        f"({_told(shortest_us)}): at its end nothing of its state is left there"
    )


def _coherence_us(calibration: Snapshot, qubit: int) -> Mapping[str, float]:
    try:
        properties = calibration.qubit(qubit)
    except NotCalibrated:
        return {}
    return {"T1": properties.t1_us, "T2": properties.t2_us}


def _told(time_us: float) -> str:
    return f"{1e-3 * time_us:.3g} ms" if time_us >= 1_000 else f"{time_us:.3g} µs"
