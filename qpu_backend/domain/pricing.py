"""What a job costs.

The price depends only on the job, so it can be quoted and capped before it runs; who shares the chip with it, and how
it is cut into rounds, changes nothing.

    price = max(minimum, shots · per_shot + t · (per_device_second + qubits · per_qubit_second))

with ``t`` the stand-alone device time (:func:`qpu_backend.domain.rounds.stand_alone_us`). Exact rational arithmetic,
rounded half-even once.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Final

_SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class PriceBook:
    """A dated, immutable set of rates, in micro-credits.

    Attributes:
        id: names the version; stored with every job and usage record.
        per_shot_micro: for each shot.
        per_device_second_micro: for each second of stand-alone device time.
        per_qubit_second_micro: for each second and qubit of the job's exclusive footprint.
        minimum_micro: of any job.
    """

    id: str
    per_shot_micro: int
    per_device_second_micro: int
    per_qubit_second_micro: int
    minimum_micro: int

    def __post_init__(self) -> None:
        rates = (self.per_shot_micro, self.per_device_second_micro, self.per_qubit_second_micro, self.minimum_micro)
        if min(rates) < 0:
            raise ValueError(f"a price book has no negative rates: {self}")

    def rates(self) -> dict[str, int]:
        """Everything but the id, as plain JSON."""
        document = asdict(self)
        del document["id"]
        return document

    @classmethod
    def from_rates(cls, book_id: str, rates: dict[str, Any]) -> PriceBook:
        """Inverse of :meth:`rates`."""
        return cls(id=book_id, **rates)


def price(book: PriceBook, shots: int, device_us: int, footprint_qubits: int) -> int:
    """Price of a job in micro-credits.

    Args:
        book: the rates.
        shots: of the whole job.
        device_us: its stand-alone device time.
        footprint_qubits: qubits nobody else can use meanwhile: the region; the whole chip for an exclusive job.
    """
    per_second = book.per_device_second_micro + footprint_qubits * book.per_qubit_second_micro
    exact = shots * book.per_shot_micro + Fraction(device_us * per_second, _SECOND_US)
    return max(book.minimum_micro, round(exact))  # round() of a Fraction is exact and half-even
