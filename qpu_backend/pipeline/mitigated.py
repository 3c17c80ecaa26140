"""Results of jobs with mitigation: what they answer, and what is declared to have been done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qpu_backend.domain.mitigating import Readout, estimates, quasi, unflipped
from qpu_sdk.wire.results import ExpectationsOfPub, QuasiOfBinding, Register, ShotsOfPub

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qpu_backend.domain.mitigation import Mitigation, Treatment
    from qpu_backend.domain.programs import Program
    from qpu_backend.pipeline.parts import Part
    from qpu_sdk.wire.results import PubAnswer


def mitigated(
    program: Program, treatment: Treatment, shots: Sequence[NDArray[np.uint8]], parts: Sequence[Part]
) -> tuple[list[PubAnswer], dict[str, Any]]:
    """The answers to the client's pubs, and what the result declares of mitigation.

    Args:
        program: of the job.
        treatment: its own.
        shots: of each execution, as they were read.
        parts: of the job.
    """
    read = unflipped(program, treatment, shots)
    asked = treatment.mitigation
    readout = None
    if asked.readout is not None:
        readout = Readout(program, treatment, read, _published(parts))
    told = _told(asked, treatment, readout)
    if program.kind != "estimator":
        return [*_shots(program, read, readout)], told
    answers = estimates(program, treatment, read, readout)
    return [
        ExpectationsOfPub(
            evs=one.evs,
            stds=one.stds,
            shots=plan.shots,
            target_precision=plan.precision,
            overheads=one.overheads,
            evs_noise_factors=one.evs_noise_factors,
            stds_noise_factors=one.stds_noise_factors,
            extrapolators=one.extrapolators,
        )
        for plan, one in zip(program.plans, answers, strict=True)
    ], told


def published_in(metadata: dict[str, Any]) -> tuple[tuple[int, float, float], ...]:
    """The published errors of readout that a result says it was mitigated by."""
    measure: dict[str, Any] = metadata.get("mitigation", {}).get("measure", {})
    if measure.get("source") != "snapshot":
        return ()
    return tuple((int(qubit), e0, e1) for qubit, e0, e1 in measure["errors"])


def _published(parts: Sequence[Part]) -> dict[int, tuple[float, float]]:
    """The published errors, of several legs their mean over shots: a leg may run under a later calibration."""
    total = sum(part.shots for part in parts)
    means: dict[int, tuple[float, float]] = {}
    for part in parts:
        share = part.shots / total
        for qubit, e0, e1 in part.readout:
            before = means.get(qubit, (0.0, 0.0))
            means[qubit] = (before[0] + share * e0, before[1] + share * e1)
    return means


def _told(asked: Mitigation, treatment: Treatment, readout: Readout | None) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if asked.twirling is not None:
        told["twirling"] = {
            "enable_gates": asked.twirling.gates,
            "enable_measure": asked.twirling.measure,
            "seed": asked.seed,
        }
    if asked.decoupling is not None:
        told["dynamical_decoupling"] = {"sequence_type": asked.decoupling}
    if asked.readout is not None and readout is not None:
        measure: dict[str, Any] = {"method": "m3", "source": asked.readout.source, "errors": readout.table()}
        if treatment.sets:
            measure |= {"shots": asked.readout.shots, "executions": int((treatment.factor_of < 0).sum())}
        told["measure"] = measure
    if asked.extrapolation is not None:
        told["zne"] = {
            "amplifier": "gate_folding",
            "noise_factors": list(asked.extrapolation.factors),
            "extrapolator": asked.extrapolation.extrapolator,
        }
    return told


def _shots(program: Program, read: Sequence[NDArray[np.uint8]], readout: Readout | None) -> list[ShotsOfPub]:
    """Bits with their randomisations one after the other, and with quasi-probabilities beside them."""
    runs: list[dict[int, list[int]]] = [{} for _ in range(program.num_pubs)]
    for index, execution in enumerate(program.executions):
        if execution.pub < program.num_pubs:
            runs[execution.pub].setdefault(execution.binding, []).append(index)
    pubs: list[ShotsOfPub] = []
    for of_binding in runs:
        joined = [np.concatenate([read[index] for index in indices]) for indices in of_binding.values()]
        first = [program.executions[indices[0]] for indices in of_binding.values()]
        circuit = program.circuits[first[0].circuit]
        found = (
            []
            if readout is None
            else [quasi(program, readout, execution, bits) for execution, bits in zip(first, joined, strict=True)]
        )
        pubs.append(
            ShotsOfPub(
                bits=np.stack(joined),
                num_clbits=circuit.num_clbits,
                registers=tuple(Register(register.name, register.clbits) for register in circuit.registers),
                quasi=tuple(QuasiOfBinding(one.strings, one.values, one.overhead) for one in found),
            )
        )
    return pubs
