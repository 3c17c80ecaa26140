"""What a tenant used, by the tags of its jobs: a job with two tags counts under both, one without under ``None``."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, String, bindparam, func, select, true

from qpu_backend.stores.cursors import page_of
from qpu_backend.stores.errors import InvalidCursor
from qpu_backend.stores.expressions import ArrayElements
from qpu_backend.stores.money import UsageTotals
from qpu_backend.stores.schema_money import usage_records

if TYPE_CHECKING:
    from qpu_backend.domain.tenancy import TenantScope

TagShare = tuple[str | None, UsageTotals]


def usage_by_tag(
    connection: Connection, scope: TenantScope, *, since_us: int, cursor: str | None = None, limit: int = 100
) -> tuple[list[TagShare], str | None]:
    """A page of what the tenant's jobs used that were settled at or after this wall time, by tag.

    Jobs without a tag come first, then tags in the database's order of words.

    Returns:
        The page, and the cursor of the next one, ``None`` on the last.

    Raises:
        InvalidCursor: the cursor is not one that a page before this gave out.
    """
    values: dict[str, object] = {"tenant": scope.tenant_id, "since": since_us, "limit": limit + 1}
    query = _BY_TAG if cursor is None else _AFTER
    if cursor is not None:
        values["after"] = _read(cursor)
    rows = [(tag, UsageTotals(*(int(total) for total in totals))) for tag, *totals in connection.execute(query, values)]
    return page_of(rows, limit, _cursor_of)


def _cursor_of(row: TagShare) -> str:
    return base64.urlsafe_b64encode(f"tag/{row[0] or ''}".encode()).decode().rstrip("=")


def _read(cursor: str) -> str:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise InvalidCursor from error
    kind, _, tag = text.partition("/")
    if kind != "tag" or "\x00" in tag:
        raise InvalidCursor
    return tag


_TAGS: Final = ArrayElements(usage_records.c.tags).table_valued("value", name="tag")
_TAGGED: Final = (  # distinct: a job that names a tag twice has it once
    select(
        usage_records.c.id,
        _TAGS.c.value.label("tag"),
        usage_records.c.shots,
        usage_records.c.device_us,
        usage_records.c.price_micro,
    )
    .select_from(usage_records.outerjoin(_TAGS, true()))
    .where(usage_records.c.tenant_id == bindparam("tenant"), usage_records.c.recorded_at_us >= bindparam("since"))
    .distinct()
    .subquery("tagged")
)
_BY_TAG: Final = (
    select(
        _TAGGED.c.tag,
        func.count(),
        func.sum(_TAGGED.c.shots),
        func.sum(_TAGGED.c.device_us),
        func.sum(_TAGGED.c.price_micro),
    )
    .group_by(_TAGGED.c.tag)
    .order_by(_TAGGED.c.tag.is_not(None), _TAGGED.c.tag)
    .limit(bindparam("limit"))
)
_AFTER: Final = _BY_TAG.where(_TAGGED.c.tag > bindparam("after", type_=String()))
