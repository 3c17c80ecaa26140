"""Which random seed each piece of a job gets: a function of the job's seed and the piece's place in it, no more.

Circuits of different jobs never share a seed or a run, so a job's counts do not depend on strangers.
"""

from __future__ import annotations

import hashlib
from typing import Final

SEED_BOUND: Final = 2**63
"""Seeds are ``0 ≤ seed < 2**63``: what the wire and an SQL integer hold. Aer (0.18) takes each of them as it is and
uses all its bits: seeds that differ only above bit 31 give different shots."""


def derive_seed(
    job_seed: int, pub: int = 0, binding: int = 0, basis: int = 0, slice_index: int = 0, turn: int = 0
) -> int:
    """The seed of one slice of one execution; one with nothing but zeros has the job's seed itself.

    Returns:
        The first 63 bits of a SHA-256 over the job's seed and the indices.

    Raises:
        ValueError: a seed outside ``[0, SEED_BOUND)`` or a negative index.
    """
    place = (pub, binding, basis, slice_index, turn)
    if not 0 <= job_seed < SEED_BOUND or min(place) < 0:
        raise ValueError(f"no seed can be derived from seed {job_seed} at {place}")
    if not any(place):
        return job_seed
    of_turn = f":{turn}" if turn else ""
    digest = hashlib.sha256(f"seed-1:{job_seed}:{pub}:{binding}:{basis}:{slice_index}{of_turn}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
