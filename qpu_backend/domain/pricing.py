"""What a job costs.

The price depends only on the job, so it can be quoted and capped before it runs; who shares the chip with it, and how
it is cut into rounds, changes nothing.

    price = max(minimum, lane% · (shots · per_shot + t · (per_device_second + qubits · per_qubit_second)))

with ``t`` the stand-alone device time (:func:`qpu_backend.domain.rounds.stand_alone_us`) and ``lane%`` what the lane
multiplies by, 100 % unless the book names it; the minimum is the same in every lane. Exact rational arithmetic, rounded
half-even once.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECOND_US: Final = 1_000_000
_WHOLE: Final = 100


@dataclass(frozen=True, slots=True)
class PriceBook:
    """A dated, immutable set of rates, in micro-credits.

    Attributes:
        id: names the version; stored with every job and usage record.
        per_shot_micro: for each shot.
        per_device_second_micro: for each second of stand-alone device time.
        per_qubit_second_micro: for each second and qubit of the job's exclusive footprint.
        minimum_micro: of any job.
        lane_percent: what a lane multiplies by, in whole percent; 100 for one that is not named.
        free_micro_per_month: of what a tenant is charged in a calendar month (UTC), given back on its invoice.
    """

    id: str
    per_shot_micro: int
    per_device_second_micro: int
    per_qubit_second_micro: int
    minimum_micro: int
    lane_percent: Mapping[str, int] = field(default_factory=dict[str, int], hash=False)
    free_micro_per_month: int = 0

    def __post_init__(self) -> None:
        rates = (self.per_shot_micro, self.per_device_second_micro, self.per_qubit_second_micro, self.minimum_micro)
        if min(*rates, self.free_micro_per_month, *self.lane_percent.values()) < 0:
            raise ValueError(f"a price book has no negative rates: {self}")

    def in_lane(self, exact: Fraction, lane: str) -> int:
        """An exact amount, multiplied by what the lane asks for and rounded: half-even, and nowhere before."""
        return round(exact * self.lane_percent.get(lane, _WHOLE) / _WHOLE)  # of a Fraction this is exact

    def rates(self) -> dict[str, Any]:
        """Everything but the id, as plain JSON."""
        document = asdict(self)
        del document["id"]
        return document

    @classmethod
    def from_rates(cls, book_id: str, rates: dict[str, Any]) -> PriceBook:
        """Inverse of :meth:`rates`; one that was stored before there were lanes or an allowance has none."""
        return cls(id=book_id, **rates)


def price(book: PriceBook, shots: int, device_us: int, footprint_qubits: int, lane: str) -> int:
    """Price of a job in micro-credits.

    Args:
        book: the rates.
        shots: of the whole job.
        device_us: its stand-alone device time.
        footprint_qubits: qubits nobody else can use meanwhile: the region; the whole chip for an exclusive job.
        lane: that it is in.
    """
    per_second = book.per_device_second_micro + footprint_qubits * book.per_qubit_second_micro
    exact = shots * book.per_shot_micro + Fraction(device_us * per_second, _SECOND_US)
    return max(book.minimum_micro, book.in_lane(exact, lane))
