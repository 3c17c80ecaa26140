"""A job larger than the limits, cut into parts that keep to them, and their results joined again.

::

    pubs      │ A  B │ C ··········· │ C ···· D  E │ A  B │ C ···  …      F │ F more shots  G │
    begins as   pub    pub             bindings      round  pub      …        shots

A part is what one job takes. It begins with a new pub, with further bindings of the pub before, with further shots of
these bindings, or a new round: all pubs again, from the first one on, for further shots. So the order of the parts and
these words are all that is needed to join them.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from qpu_sdk.errors import LimitExceededError, ProtocolError
from qpu_sdk.grouping import num_bases
from qpu_sdk.wire.circuits import decode_bindings, encode_bindings
from qpu_sdk.wire.results import BYTES_OF_A_POINT, ExpectationsOfPub, JobResult, PointsOfPub, ShotsOfPub

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpu_sdk.wire.models import Pub
    from qpu_sdk.wire.results import PubAnswer

_SLACK_BYTES: Final = 8_192
"""Of a request, beside its circuits and pubs."""
_SEED_BOUND: Final = 2**31


class Begins(StrEnum):
    """How the first pub of a part follows the last one of the part before."""

    PUB = "pub"
    BINDINGS = "bindings"
    SHOTS = "shots"
    ROUND = "round"


@dataclass(frozen=True, slots=True)
class Room:
    """What one job may have."""

    circuits: int
    shots: int
    executions: int
    result_bytes: int
    body_bytes: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A pub, or a part of one, that fits in a job.

    Attributes:
        pub: as it is sent, with the number of its circuit among all circuits.
        begins: how it follows the piece before.
        executions, result_bytes, body_bytes: what it takes; without the circuit.
    """

    pub: Pub
    begins: Begins
    executions: int
    result_bytes: int
    body_bytes: int


@dataclass(frozen=True, slots=True)
class Weight:
    """What a pub takes.

    Attributes:
        shots: repetitions of each execution.
        executions: for each binding.
        bytes_per_shot: of the result, for each binding and shot.
        bytes_per_binding: of the result, whatever the shots.
    """

    shots: int
    executions: int
    bytes_per_shot: int = 0
    bytes_per_binding: int = 0

    @classmethod
    def of_bits(cls, shots: int, num_clbits: int) -> Weight:
        """Of a pub that is sampled."""
        return cls(shots, 1, bytes_per_shot=(num_clbits + 7) // 8)

    @classmethod
    def of_points(cls, shots: int, num_clbits: int) -> Weight:
        """Of a pub that is read at measurement level 1."""
        return cls(shots, 1, bytes_per_shot=BYTES_OF_A_POINT * num_clbits)

    @classmethod
    def of_estimate(cls, pub: Pub, factor: int = 1) -> Weight:
        """Of a pub of the estimator. ``factor``: circuits that are run for each that is asked for."""
        shots = math.ceil(1 / max(pub.precision or 1.0, 1e-9) ** 2) if pub.shots is None else pub.shots
        asked = {observable for _, observable in pub.pairs or ()}
        bases = num_bases([(pub.observables or [])[number] for number in sorted(asked)])
        pairs = -(-len(pub.pairs or ()) // num_bindings(pub))
        return cls(shots, factor * bases, bytes_per_binding=16 * pairs)


def num_bindings(pub: Pub) -> int:
    """How many parameter sets a pub has; one without parameters is one."""
    return 1 if pub.bindings is None else pub.bindings.num_bindings


def plan(pubs: Sequence[Pub], weights: Sequence[Weight], circuit_bytes: Sequence[int], room: Room) -> list[list[Piece]]:
    """The parts of a job.

    Where there are too many shots, the whole job is run in rounds if every pub has shots for each: that takes the
    fewest jobs. Otherwise each pub is cut for itself.

    Args:
        pubs: as they would be sent; each names its circuit.
        weights: what each takes.
        circuit_bytes: of each circuit in a request.
        room: of a job.

    Raises:
        LimitExceededError: not even one binding and one shot of a pub fit.
    """
    rounds = max(-(-weight.shots // max(1, _most_shots(weight, room))) for weight in weights)
    if min(weight.shots for weight in weights) < rounds:
        rounds = 1
    parts: list[list[Piece]] = []
    for number in range(rounds):
        pieces: list[Piece] = []
        for index, (pub, weight) in enumerate(zip(pubs, weights, strict=True)):
            shots = _block(weight.shots, number, rounds)
            of_round = pub if rounds == 1 else pub.model_copy(update={"shots": shots})
            size = circuit_bytes[pub.circuit]
            pieces += cut(of_round, replace(weight, shots=shots), room, circuit_bytes=size, field=f"pubs[{index}]")
        if number:
            pieces[0] = replace(pieces[0], begins=Begins.ROUND)
        parts += pack(pieces, circuit_bytes, room)
    return parts


def cut(pub: Pub, weight: Weight, room: Room, *, circuit_bytes: int, field: str) -> list[Piece]:
    """A pub in pieces that fit, in the order in which :func:`join` expects them: bindings, then shots of each.

    Args:
        pub: as it would be sent.
        weight: what it takes.
        room: of a job.
        circuit_bytes: of its circuit in a request.
        field: the pub, for messages.

    Raises:
        LimitExceededError: not even one binding and one shot of it fit.
    """
    bindings = num_bindings(pub)
    whole = len(pub.model_dump_json(exclude_none=True))
    rows = 0 if pub.bindings is None else len(pub.bindings.data) * 4 // 3
    fixed = whole - rows - sum(8 + len(str(pair)) for pair in pub.pairs or ())
    per_binding = -(-(whole - fixed) // bindings)
    left = room.body_bytes - _SLACK_BYTES - circuit_bytes - fixed
    shots = min(weight.shots, _most_shots(weight, room))
    most = min(
        bindings,
        room.executions // weight.executions,
        left // per_binding if per_binding else bindings,
        room.result_bytes // max(1, weight.bytes_per_shot * shots + weight.bytes_per_binding),
    )
    if shots < 1 or most < 1:
        raise LimitExceededError(
            f"{field} cannot be split into jobs: one of its bindings alone is too large", field=field
        )
    blocks = -(-weight.shots // shots)
    pieces: list[Piece] = []
    for first in range(0, bindings, most):
        number = min(most, bindings - first)
        rows_of = _with_bindings(pub, first, number)
        for block in range(blocks):
            of_block = _block(weight.shots, block, blocks)
            begins = Begins.SHOTS if block else Begins.BINDINGS if first else Begins.PUB
            sent = rows_of if blocks == 1 else rows_of.model_copy(update={"shots": of_block})
            size = number * (weight.bytes_per_shot * of_block + weight.bytes_per_binding)
            pieces.append(Piece(sent, begins, number * weight.executions, size, fixed + number * per_binding))
    return pieces


def pack(pieces: Sequence[Piece], circuit_bytes: Sequence[int], room: Room) -> list[list[Piece]]:
    """Pieces in parts, in their order, each as full as it may be; a pub that goes on begins a part."""
    parts: list[list[Piece]] = []
    circuits: set[int] = set()
    left = room
    for piece in pieces:
        fresh = piece.pub.circuit not in circuits
        body = piece.body_bytes + (circuit_bytes[piece.pub.circuit] if fresh else 0)
        fits = (
            parts
            and piece.begins is Begins.PUB
            and len(circuits) + fresh <= room.circuits
            and piece.executions <= left.executions
            and piece.result_bytes <= left.result_bytes
            and body <= left.body_bytes
        )
        if not fits:
            parts.append([])
            circuits = set()
            left = replace(room, body_bytes=room.body_bytes - _SLACK_BYTES)
            body = piece.body_bytes + circuit_bytes[piece.pub.circuit]
        parts[-1].append(piece)
        circuits.add(piece.pub.circuit)
        left = replace(
            left,
            executions=left.executions - piece.executions,
            result_bytes=left.result_bytes - piece.result_bytes,
            body_bytes=left.body_bytes - body,
        )
    return parts


def seed_of_part(seed: int | None, part: int) -> int | None:
    """Parts that repeat the same circuit must not repeat the same shots. The first has the job's own seed."""
    if seed is None or part == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}:{part}".encode()).digest()[:8]) % _SEED_BOUND


def join(group_id: str, results: Sequence[JobResult], begins: Sequence[Begins]) -> JobResult:
    """The results of the parts as the result of one job.

    Its metadata follows the rule of a job that ran in several legs: what was of the last one, the largest company, the
    mean loss over shots; and ``parts`` has ``job_id``, ``shots`` and the metadata of each.
    """
    rounds: list[list[list[list[PubAnswer]]]] = [[]]  # its pubs, their blocks of bindings, their blocks of shots
    for result, begin in zip(results, begins, strict=True):
        if begin is Begins.ROUND:
            rounds.append([])
        pubs = rounds[-1]
        for index, answer in enumerate(result.pubs):
            how = begin if index == 0 and begin is not Begins.ROUND else Begins.PUB
            if how is not Begins.PUB and not pubs:
                raise ProtocolError(f"the parts of {group_id} do not begin at the beginning")
            if how is Begins.PUB:
                pubs.append([[answer]])
            elif how is Begins.BINDINGS:
                pubs[-1].append([answer])
            else:
                pubs[-1][-1].append(answer)
    if len({len(pubs) for pubs in rounds}) != 1:
        raise ProtocolError(f"the rounds of {group_id} are not of the same pubs")
    whole = [[_all_bindings([_all_shots(block) for block in blocks]) for blocks in pubs] for pubs in rounds]
    joined = tuple(_all_shots(list(answers)) for answers in zip(*whole, strict=True))
    return JobResult(group_id, results[-1].program, joined, _metadata(results))


def _most_shots(weight: Weight, room: Room) -> int:
    """Of one binding, in one job."""
    return min(room.shots, room.result_bytes // weight.bytes_per_shot) if weight.bytes_per_shot else room.shots


def _block(shots: int, number: int, blocks: int) -> int:
    """Shots of a block: they differ by one at most."""
    return shots * (number + 1) // blocks - shots * number // blocks


def _with_bindings(pub: Pub, first: int, number: int) -> Pub:
    if pub.bindings is None or number == pub.bindings.num_bindings:
        return pub
    update: dict[str, Any] = {"bindings": encode_bindings(decode_bindings(pub.bindings)[first : first + number])}
    if pub.pairs is not None:
        update["pairs"] = [(b - first, o) for b, o in pub.pairs if first <= b < first + number]
    return pub.model_copy(update=update)


def _all_shots(block: list[PubAnswer]) -> PubAnswer:
    """More shots of the same bindings."""
    first = block[0]
    if len(block) == 1:
        return first
    if isinstance(first, ShotsOfPub):
        return replace(first, bits=np.concatenate([cast("ShotsOfPub", one).bits for one in block], axis=1))
    shots = np.array([one.shots for one in cast("list[PointsOfPub | ExpectationsOfPub]", block)])
    share = shots / shots.sum()
    if isinstance(first, PointsOfPub):
        points = [cast("PointsOfPub", one).points for one in block]
        mean = np.einsum("k,kbc->bc", share, np.stack(points)) if first.averaged else np.concatenate(points, axis=1)
        return replace(first, points=mean.astype(np.complex64), shots=int(shots.sum()))
    estimates = cast("list[ExpectationsOfPub]", block)
    evs = share @ np.stack([one.evs for one in estimates])
    stds = np.sqrt(share**2 @ np.stack([one.stds for one in estimates]) ** 2)
    return replace(first, evs=evs, stds=stds, shots=int(shots.sum()))


def _all_bindings(blocks: list[PubAnswer]) -> PubAnswer:
    """More bindings of the same pub."""
    first = blocks[0]
    if len(blocks) == 1:
        return first
    if isinstance(first, ShotsOfPub):
        return replace(first, bits=np.concatenate([cast("ShotsOfPub", one).bits for one in blocks]))
    if isinstance(first, PointsOfPub):
        return replace(first, points=np.concatenate([cast("PointsOfPub", one).points for one in blocks]))
    estimates = cast("list[ExpectationsOfPub]", blocks)
    evs, stds = (np.concatenate([getattr(one, name) for one in estimates]) for name in ("evs", "stds"))
    return replace(first, evs=evs, stds=stds, shots=max(one.shots for one in estimates))


def _metadata(results: Sequence[JobResult]) -> dict[str, Any]:
    shots = [_shots(result) for result in results]
    joined = dict(results[-1].metadata)
    companies = [result.metadata["co_tenants"] for result in results if result.metadata.get("co_tenants") is not None]
    if companies:
        joined["co_tenants"] = max(companies)  # "0" < "1-3" < "4+"
    losses = [result.metadata.get("crosstalk_loss") for result in results]
    if all(loss is not None for loss in losses):
        joined["crosstalk_loss"] = float(np.average(np.array(losses, dtype=float), weights=np.array(shots) + 1e-9))
    if results[0].metadata.get("seed") is not None:
        joined["seed"] = results[0].metadata["seed"]
    warned = [warning for result in results for warning in result.metadata.get("warnings", ())]
    if warned:
        joined["warnings"] = list(dict.fromkeys(warned)) if all(isinstance(one, str) for one in warned) else warned
    joined["parts"] = [
        {"job_id": result.job_id, "shots": of_it} | result.metadata
        for result, of_it in zip(results, shots, strict=True)
    ]
    return joined


def _shots(result: JobResult) -> int:
    return sum(
        pub.bits.shape[0] * pub.bits.shape[1] if isinstance(pub, ShotsOfPub) else pub.shots for pub in result.pubs
    )
