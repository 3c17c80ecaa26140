"""Who may make whom what: laws of roles, of lock-outs and of what a token may say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.domain.errors import TooLarge
from qpu_backend.domain.logins import LoginPolicy, LoginRefused, login_of
from qpu_backend.domain.principals import (
    GRANTABLE,
    MAX_LIVE_KEYS,
    LockOut,
    RoleRefused,
    Standing,
    check_change,
    check_live_keys,
    check_role,
)
from qpu_backend.domain.tenancy import PERMISSIONS, Permission, PrincipalId, Role

ROLES = st.sampled_from(Role)
ACROSS_TENANTS = {Permission.OPERATE, Permission.ADMINISTER, Permission.KEEP_BOOKS, Permission.READ_METRICS}


@st.composite
def rosters(draw: st.DrawFn, *, managed: bool = False) -> list[Standing]:
    """The principals of a tenant; if ``managed``, with an administrator among them."""
    standings = draw(st.lists(st.tuples(ROLES, st.booleans(), st.booleans()), min_size=1, max_size=6))
    if managed:
        standings[draw(st.integers(0, len(standings) - 1))] = (Role.TENANT_ADMIN, False, True)
    return [Standing(PrincipalId(f"prn_{number}"), *each) for number, each in enumerate(standings)]


def tried(roster: list[Standing], author: PrincipalId, after: Standing) -> list[Standing]:
    """The roster after a change that is allowed, and the same one where it is not."""
    try:
        check_change(roster, author, after)
    except (LockOut, RoleRefused):
        return roster
    return [after if one.id == after.id else one for one in roster]


@given(
    roster=rosters(managed=True),
    changes=st.lists(st.tuples(st.integers(0, 5), ROLES, st.booleans(), st.integers(0, 5)), max_size=20),
)
def test_a_tenant_with_an_administrator_always_has_one(
    roster: list[Standing], changes: list[tuple[int, Role, bool, int]]
) -> None:
    assert any(one.manages for one in roster)
    operators = [one for one in roster if one.role is Role.OPERATOR]
    for whom, role, disabled, author in changes:
        before = roster[whom % len(roster)]
        roster = tried(roster, roster[author % len(roster)].id, replace(before, role=role, disabled=disabled))
        assert any(one.manages for one in roster)
        assert [one for one in roster if one.role is Role.OPERATOR] == operators


@given(roster=rosters(), role=ROLES, whom=st.integers(0, 5))
def test_nobody_disables_itself(roster: list[Standing], role: Role, whom: int) -> None:
    before = roster[whom % len(roster)]
    after = tried(roster, before.id, replace(before, role=role, disabled=True))
    assert [one.disabled for one in after] == [one.disabled for one in roster]


@given(role=ROLES, to=ROLES, disabled=st.booleans())
def test_beside_another_administrator_everything_of_the_tenants_own_may_change(
    role: Role, to: Role, disabled: bool
) -> None:
    stays, other = Standing(PrincipalId("a"), Role.TENANT_ADMIN, False), Standing(PrincipalId("b"), role, False)
    after = replace(other, role=to, disabled=disabled)
    if {role, to} <= GRANTABLE:
        check_change([stays, other], stays.id, after)
    else:
        with pytest.raises(RoleRefused):
            check_change([stays, other], stays.id, after)


def test_a_tenant_gives_every_role_that_stays_within_it_and_no_other() -> None:
    for role in Role:
        if PERMISSIONS[role] & ACROSS_TENANTS:
            with pytest.raises(RoleRefused):
                check_role(role)
        else:
            check_role(role)


def test_one_key_more_than_the_most_is_refused() -> None:
    check_live_keys(MAX_LIVE_KEYS - 1)
    with pytest.raises(TooLarge):
        check_live_keys(MAX_LIVE_KEYS)


# --- what a token says --------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | ROLES.map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
POLICIES = st.builds(
    LoginPolicy,
    tenant_claim=st.sampled_from(["tenant", "org", "sub"]),
    role_claim=st.none() | st.just("role"),
    roles=st.frozensets(ROLES, min_size=1),
    create_principals=st.booleans(),
)
CLAIMS = st.fixed_dictionaries(
    {"iat": st.just(1_780_000_000.5) | JSON},
    optional={name: JSON | st.sampled_from(["acme", "ada"]) for name in ("tenant", "org", "sub", "role")},
)


@given(claims=CLAIMS, policy=POLICIES)
def test_whatever_a_token_says_it_names_a_tenant_a_subject_and_a_role_that_tokens_have_or_is_refused(
    claims: dict[str, object], policy: LoginPolicy
) -> None:
    try:
        login = login_of(claims, policy)
    except LoginRefused:
        return
    assert (login.tenant, login.principal) == (claims[policy.tenant_claim], claims["sub"])
    assert login.issued_at_us == int(claims["iat"] * 1_000_000)  # type: ignore[operator]
    assert login.principal.isprintable()
    assert 0 < len(login.principal) <= 128
    if policy.role_claim is None:
        assert login.role is None
    else:
        assert login.role in policy.roles
        said = claims["role"]
        assert login.role == said or (isinstance(said, list) and login.role in said)


@pytest.mark.parametrize("said", ["member", ["member"], ["staff", "member", "member", 7, None]])
def test_one_role_among_other_words_is_that_role(said: object) -> None:
    policy = LoginPolicy("tenant", "role", frozenset({Role.MEMBER}), create_principals=True)
    assert login_of({"tenant": "acme", "sub": "ada", "role": said, "iat": 1}, policy).role is Role.MEMBER


@pytest.mark.parametrize(
    "said", [["member", "tenant_admin"], [], "", "Member", "member ", None, {"member": 1}, [["member"]]]
)
def test_no_role_or_two_are_none(said: object) -> None:
    policy = LoginPolicy("tenant", "role", frozenset(Role), create_principals=True)
    with pytest.raises(LoginRefused):
        login_of({"tenant": "acme", "sub": "ada", "role": said, "iat": 1}, policy)


@pytest.mark.parametrize("iat", [None, True, "1", -1, float("inf"), float("nan"), 10**400, [1]])
def test_what_is_no_time_of_issue_is_refused(iat: object) -> None:
    policy = LoginPolicy("tenant", None, frozenset({Role.MEMBER}), create_principals=True)
    with pytest.raises(LoginRefused):
        login_of({"tenant": "acme", "sub": "ada", "iat": iat}, policy)


@pytest.mark.parametrize("tenant", ["", "a/b", "a b", "acme\n", "ümlaut", "x" * 65, 7, None, ["acme"]])
def test_what_cannot_be_a_tenants_name_is_none(tenant: object) -> None:
    policy = LoginPolicy("tenant", None, frozenset({Role.MEMBER}), create_principals=True)
    with pytest.raises(LoginRefused):
        login_of({"tenant": tenant, "sub": "ada", "iat": 1}, policy)
