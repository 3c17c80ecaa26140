"""Policies in the database, and how many jobs of those run that may not run all at once.

What they mean is in ``domain/policies.py``. A row with a ``principal_id`` of '' is that of the tenant as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, and_, bindparam, delete, func, literal_column, select, update

from qpu_backend.domain.policies import LISTS, NOT_LIMITED, POLICY_FIELDS, Policies, Policy
from qpu_backend.stores.access import TenantRow
from qpu_backend.stores.errors import MissingRow
from qpu_backend.stores.expressions import insert_ignoring
from qpu_backend.stores.given import among, listed
from qpu_backend.stores.rates import Counts
from qpu_backend.stores.rows import columns_of
from qpu_backend.stores.schema import devices, jobs
from qpu_backend.stores.schema_access import policies, principals, rate_limits, tenants

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from qpu_backend.domain.running import Whose
    from qpu_backend.domain.tenancy import SystemScope, TenantScope


@dataclass(frozen=True, slots=True)
class Standing:
    """How a principal stands when it asks for something.

    Attributes:
        tenant: its tenant.
        policies: that apply to it.
        arrivals: of its rates, by whom they are of; see ``domain/rates.py``.
    """

    tenant: TenantRow
    policies: Policies
    arrivals: Mapping[str, int]


# --- a tenant about itself ----------------------------------------------------------------------------------------


def read_standing(connection: Connection, scope: TenantScope) -> Standing:
    """The tenant's row, both policies and both arrivals, in one statement.

    Raises:
        MissingRow: there is no such principal of the tenant.
    """
    standing = read_standings(connection, [scope]).get((scope.tenant_id, scope.principal_id))
    if standing is None:
        raise MissingRow("tenant", scope.tenant_id)
    return standing


def read_standings(connection: Connection, scopes: Collection[TenantScope]) -> dict[tuple[str, str], Standing]:
    """As :func:`read_standing`, of several, by (tenant, principal); those that do not exist are left out."""
    asked = {(scope.tenant_id, scope.principal_id) for scope in scopes}
    rows = connection.execute(_STANDINGS, {"principals": listed(principal_id for _, principal_id in asked)})
    standings = [(principal_id, _standing(principal_id, values)) for principal_id, *values in rows]
    found = {(standing.tenant.id, principal_id): standing for principal_id, standing in standings}
    return {key: standing for key, standing in found.items() if key in asked}


def _standing(principal_id: str, values: Sequence[Any]) -> Standing:
    tenant, rest = values[:_OF_TENANT], values[_OF_TENANT:]
    both = Policies(_policy(rest[:_OF_POLICY]), _policy(rest[_OF_POLICY : 2 * _OF_POLICY]))
    whose = ("", principal_id)
    arrivals = {one: at_us for one, at_us in zip(whose, rest[2 * _OF_POLICY :], strict=True) if at_us is not None}
    return Standing(TenantRow(*tenant), both, arrivals)


def count_own_unfinished(connection: Connection, scope: TenantScope) -> int:
    """How many of the principal's own jobs are queued or running."""
    key = {"tenant": scope.tenant_id, "principal": scope.principal_id}
    return int(connection.execute(_OWN_UNFINISHED, key).scalar_one())


def running_limits(connection: Connection, scope: TenantScope, principal_id: str) -> dict[str, tuple[int, int]]:
    """What limits how many jobs of one of the tenant's principals run: by whom, (limit, how many run now).

    Empty where nothing does.
    """
    found = connection.execute(_RUNNING_LIMITS, {"tenants": [scope.tenant_id]})
    applying = {principal: limit for _, principal, limit in found if principal in {"", principal_id}}
    if not applying:
        return {}
    running = {
        principal: int(number)
        for tenant, principal, number in connection.execute(_RUNNING)
        if tenant == scope.tenant_id
    }
    return {
        principal: (limit, running.get(principal, 0) if principal else sum(running.values()))
        for principal, limit in applying.items()
    }


# --- the operator -------------------------------------------------------------------------------------------------


def read_policies(connection: Connection, _scope: SystemScope, tenant_id: str) -> dict[str, Policy]:
    """The policies of a tenant and its principals that limit anything, by principal; '' is the tenant as a whole."""
    rows = connection.execute(_OF_A_TENANT, {"tenant": tenant_id})
    return {principal: _policy(values) for principal, *values in rows}


def write_policy(
    connection: Connection, _scope: SystemScope, tenant_id: str, policy: Policy, principal_id: str = ""
) -> None:
    """Replace the policy of a tenant, or of one of its principals; one that limits nothing leaves no row."""
    key = {"tenant": tenant_id, "principal": principal_id}
    if policy == NOT_LIMITED:
        connection.execute(_REMOVE, key)
        return
    values = {name: getattr(policy, name) for name in POLICY_FIELDS}
    values |= {name: list(values[name]) for name in LISTS if values[name] is not None}
    connection.execute(_ADD, {"tenant_id": tenant_id, "principal_id": principal_id})
    connection.execute(_WRITE, {**key, **{f"to_{name}": value for name, value in values.items()}})


def lock_policy(connection: Connection, _scope: SystemScope, tenant_id: str, principal_id: str = "") -> Policy:
    """The policy of a tenant, or of one of its principals; nobody changes it until this transaction has ended.

    Where there was no row there is one now, because only a row can be locked; :func:`write_policy` follows.
    """
    row = None
    while row is None:  # again only when the row that was there is removed between the two statements
        connection.execute(_ADD, {"tenant_id": tenant_id, "principal_id": principal_id})
        row = connection.execute(_LOCK, {"tenant": tenant_id, "principal": principal_id}).one_or_none()
    return _policy(tuple(row))


# --- the dispatcher -----------------------------------------------------------------------------------------------


def limits_of_running(connection: Connection, _scope: SystemScope, tenant_ids: Collection[str]) -> dict[Whose, int]:
    """How many jobs may run at once, of some tenants and their principals, where that is limited."""
    rows = connection.execute(_RUNNING_LIMITS, {"tenants": sorted(tenant_ids)})
    return {(tenant, principal): limit for tenant, principal, limit in rows}


def count_running(connection: Connection, _scope: SystemScope) -> dict[Whose, int]:
    """How many jobs run, on all devices together, by principal."""
    return {(tenant, principal): int(number) for tenant, principal, number in connection.execute(_RUNNING)}


def _policy(values: Sequence[Any]) -> Policy:
    if all(value is None for value in values):
        return NOT_LIMITED
    named: dict[str, Any] = dict(zip(POLICY_FIELDS, values, strict=True))
    lists: dict[str, Any] = {name: tuple(named[name]) for name in LISTS if named[name] is not None}
    return Policy(**(named | lists))


_OF_TENANT: Final = len(fields(TenantRow))
_OF_POLICY: Final = len(POLICY_FIELDS)
_ROW: Final = columns_of(Policy, policies)
_THIS: Final = (policies.c.tenant_id == bindparam("tenant"), policies.c.principal_id == bindparam("principal"))

_OF_ALL: Final = policies.alias("of_all")
_OF_ONE: Final = policies.alias("of_one")
_ARRIVAL_OF_ALL: Final = rate_limits.alias("arrival_of_all")
_ARRIVAL_OF_ONE: Final = rate_limits.alias("arrival_of_one")
_STANDINGS: Final = (
    select(
        principals.c.id,
        *columns_of(TenantRow, tenants),
        *(_OF_ALL.c[name] for name in POLICY_FIELDS),
        *(_OF_ONE.c[name] for name in POLICY_FIELDS),
        _ARRIVAL_OF_ALL.c.arrival_at_us,
        _ARRIVAL_OF_ONE.c.arrival_at_us,
    )
    .select_from(principals)
    .join(tenants, tenants.c.id == principals.c.tenant_id)
    .outerjoin(_OF_ALL, and_(_OF_ALL.c.tenant_id == tenants.c.id, _OF_ALL.c.principal_id == ""))
    .outerjoin(_OF_ONE, and_(_OF_ONE.c.tenant_id == tenants.c.id, _OF_ONE.c.principal_id == principals.c.id))
    .outerjoin(
        _ARRIVAL_OF_ALL,
        and_(
            _ARRIVAL_OF_ALL.c.tenant_id == tenants.c.id,
            _ARRIVAL_OF_ALL.c.principal_id == "",
            _ARRIVAL_OF_ALL.c.counts == Counts.SUBMISSIONS,
        ),
    )
    .outerjoin(
        _ARRIVAL_OF_ONE,
        and_(
            _ARRIVAL_OF_ONE.c.tenant_id == tenants.c.id,
            _ARRIVAL_OF_ONE.c.principal_id == principals.c.id,
            _ARRIVAL_OF_ONE.c.counts == Counts.SUBMISSIONS,
        ),
    )
    .where(among(principals.c.id, "principals"))
)
_OF_A_TENANT: Final = (
    select(policies.c.principal_id, *_ROW)
    .where(policies.c.tenant_id == bindparam("tenant"))
    .order_by(policies.c.principal_id)
)
_LOCK: Final = select(*_ROW).where(*_THIS).with_for_update()
_ADD: Final = insert_ignoring(policies)
_WRITE: Final = update(policies).where(*_THIS).values({name: bindparam(f"to_{name}") for name in POLICY_FIELDS})
_REMOVE: Final = delete(policies).where(*_THIS)
_RUNNING_LIMITS: Final = select(policies.c.tenant_id, policies.c.principal_id, policies.c.max_running_jobs).where(
    policies.c.max_running_jobs.is_not(None), policies.c.tenant_id.in_(bindparam("tenants", expanding=True))
)
_IS_RUNNING: Final = jobs.c.state == literal_column("'running'")  # literal: partial indexes match words, not parameters
_RUNNING: Final = (
    select(jobs.c.tenant_id, jobs.c.principal_id, func.count())
    .where(jobs.c.device_id.in_(select(devices.c.id)), _IS_RUNNING)  # device by device, by the index of what runs
    .group_by(jobs.c.tenant_id, jobs.c.principal_id)
)
_OWN_UNFINISHED: Final = (
    select(func.count())
    .select_from(jobs)
    .where(
        jobs.c.tenant_id == bindparam("tenant"),
        jobs.c.principal_id == bindparam("principal"),
        jobs.c.state.in_([literal_column("'queued'"), literal_column("'running'")]),
    )
)
