"""What a tenant is told about the others does not depend on who they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.domain.privacy import CoTenants, co_tenants, told_loss

TENANTS = st.lists(st.sampled_from("abcdefgh"), max_size=12)


@given(TENANTS)
def test_company_is_told_as_one_of_three_classes(tenants: list[str]):
    others = len(set(tenants) - {"a"})
    expected = "0" if others == 0 else "1-3" if others < 4 else "4+"
    assert co_tenants("a", ["a", *tenants]) == expected
    assert co_tenants("a", ["a", *tenants]) in CoTenants


@given(TENANTS, st.permutations("bcdefgh"))
def test_renaming_the_others_changes_nothing(tenants: list[str], names: list[str]):
    new_name = {"a": "a", **dict(zip("bcdefgh", names, strict=True))}
    assert co_tenants("a", tenants) == co_tenants("a", [new_name[tenant] for tenant in tenants])


def test_ones_own_other_jobs_are_no_company():
    assert co_tenants("a", ["a", "a", "a"]) is CoTenants.NONE


@given(st.floats(-1, 2))
def test_a_loss_is_told_in_half_points_between_none_and_all(loss: float):
    told = told_loss(loss)
    assert told in {k / 200 for k in range(201)}
    assert abs(told - min(max(loss, 0.0), 1.0)) <= 0.0025 + 1e-12


def test_a_loss_that_is_not_a_number_is_not_told():
    with pytest.raises(ValueError, match="not a number"):
        told_loss(float("nan"))
