"""Which random seed each piece of a job gets: a function of the job's seed and the piece's place in the job, of nothing else.

Circuits of different jobs never share a seed or a run, so a job's counts do not depend on strangers.
"""

from __future__ import annotations

import hashlib
from typing import Final

SEED_BOUND: Final = 2**63
"""Seeds are ``0 ≤ seed < 2**63``: what the wire accepts."""


def derive_seed(job_seed: int, pub: int = 0, binding: int = 0, basis: int = 0, slice_index: int = 0) -> int:
    """The seed of one slice of one execution: ``(0, 0, 0, 0)`` has the job's seed itself.

    Raises:
        ValueError: a seed outside ``[0, SEED_BOUND)`` or a negative index.
    """
    raise NotImplementedError
