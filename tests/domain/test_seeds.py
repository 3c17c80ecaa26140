"""Seeds of slices: the job's own for the first, far apart for the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.domain.seeds import SEED_BOUND, derive_seed

seeds = st.integers(0, SEED_BOUND - 1)
indices = st.tuples(*[st.integers(0, 10_000)] * 4)


@given(seeds)
def test_the_first_slice_has_the_jobs_seed_itself(seed: int):
    assert derive_seed(seed) == seed


@given(seeds, indices)
def test_a_seed_is_repeatable_and_fits_the_simulator(seed: int, place: tuple[int, int, int, int]):
    derived = derive_seed(seed, *place)
    assert derived == derive_seed(seed, *place)
    assert 0 <= derived < SEED_BOUND


def test_no_two_places_of_two_neighbouring_jobs_share_a_seed():
    places = [
        (pub, binding, basis, part)
        for pub in range(6)
        for binding in range(6)
        for basis in range(6)
        for part in range(6)
    ]
    derived = {derive_seed(seed, *place) for seed in (7, 8) for place in places}
    assert len(derived) == 2 * len(places)


def test_stored_seeds_never_change():
    assert derive_seed(42, 1, 2, 3, 4) == 5558774693758189544


@pytest.mark.parametrize(("seed", "place"), [(-1, (0, 0, 0, 0)), (SEED_BOUND, (0, 0, 0, 0)), (0, (0, -1, 0, 0))])
def test_what_is_no_seed_or_place_is_refused(seed: int, place: tuple[int, int, int, int]):
    with pytest.raises(ValueError, match="seed"):
        derive_seed(seed, *place)
