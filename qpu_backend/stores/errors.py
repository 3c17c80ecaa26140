"""What storage itself can refuse, as one tree.

    StoreError
    ├── DatabaseTrouble      the database cannot serve now, through nobody's fault: the same will work later
    │   ├── DatabaseBusy     another writer holds the lock for longer than the busy timeout
    │   ├── DatabaseFull     there is no room for what is to be written
    │   └── DatabaseGone     it does not answer, or cannot be opened
    ├── SchemaTooNew         the database was migrated by a newer release
    ├── SchemaMissing        the database has not been migrated yet
    ├── MissingRow           a row that must exist does not
    │   └── MissingBlob
    ├── CorruptBlob          stored bytes no longer have the checksum they are named by
    ├── NameTaken            a tenant or principal of that name exists
    ├── IdempotencyKeyTaken  a concurrent twin of the request was stored first
    ├── AlreadySettled       a job would be metered, or a transaction posted, twice
    ├── PriceBookChanged     a price book of that id exists with other rates
    ├── LeaseLost            the device has another holder now; nothing is written under the old epoch
    ├── ClockReversed        a device's clock would go back
    ├── ForeignTenant        a row of another tenant was offered under a tenant's scope
    └── InvalidCursor        a list cursor is not one that was given out

Each class has a stable ``code``; instances carry the facts as attributes. Rules (quota, states, prices) have their own
tree in ``domain/errors.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from qpu_backend.domain.tenancy import TenantScope

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qpu_backend.domain.tenancy import SystemScope


class StoreError(Exception):
    """Storage cannot do what was asked.

    Attributes:
        code: stable, snake_case.
    """

    code: ClassVar[str] = "store_error"


class DatabaseTrouble(StoreError):
    """The database cannot serve now; nothing was written, and the same will work once it can."""

    code = "database_trouble"


class DatabaseBusy(DatabaseTrouble):
    """Another writer held the lock for longer than the busy timeout."""

    code = "database_busy"


class DatabaseFull(DatabaseTrouble):
    """There is no room for what was to be written. Reading goes on."""

    code = "database_full"


class DatabaseGone(DatabaseTrouble):
    """The database does not answer, cannot be opened, or ended the connection."""

    code = "database_gone"


class SchemaTooNew(StoreError):
    """The database was migrated by a newer release."""

    code = "schema_too_new"

    def __init__(self, *, found: str, known: str) -> None:
        super().__init__(
            f"the database is at schema revision {found!r}, which this release (newest known: {known!r}) does not "
            "know; run the release that migrated it, or a newer one"
        )
        self.found = found
        self.known = known


class SchemaMissing(StoreError):
    """The database has not been migrated to this release's schema."""

    code = "schema_missing"

    def __init__(self, *, found: str | None, wanted: str) -> None:
        super().__init__(
            f"the database is at schema revision {found!r} and this release needs {wanted!r}; run `qpu migrate`"
        )
        self.found = found
        self.wanted = wanted


class MissingRow(StoreError):
    """A row that must exist does not."""

    code = "missing_row"

    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"there is no {what} {name!r}")
        self.what = what
        self.name = name


class MissingBlob(MissingRow):
    """No bytes are stored under this checksum."""

    code = "missing_blob"

    def __init__(self, sha256: str) -> None:
        super().__init__("blob", sha256)


class CorruptBlob(StoreError):
    """Stored bytes no longer have the checksum they are named by."""

    code = "corrupt_blob"

    def __init__(self, sha256: str) -> None:
        super().__init__(f"the stored bytes of blob {sha256} are damaged; restore the database from a backup")
        self.sha256 = sha256


class NameTaken(StoreError):
    """A tenant or principal of that name exists."""

    code = "name_taken"

    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"there is already a {what} {name!r}")
        self.what = what
        self.name = name


class IdempotencyKeyTaken(StoreError):
    """A concurrent request with the same idempotency key was stored first.

    The transaction is lost; read the first one's job in a new one.
    """

    code = "idempotency_key_taken"

    def __init__(self, key: str) -> None:
        super().__init__(f"another request has the idempotency key {key!r} at this moment; send it again")
        self.key = key


class AlreadySettled(StoreError):
    """A job would be metered, or a transaction posted, a second time."""

    code = "already_settled"


class PriceBookChanged(StoreError):
    """A price book of that id exists with other rates or another date."""

    code = "price_book_changed"

    def __init__(self, price_book: str) -> None:
        super().__init__(f"price book {price_book!r} exists with other rates; price books never change, add a new one")
        self.price_book = price_book


class LeaseLost(StoreError):
    """The device's lease has another epoch, or no holder: what was computed under the old one must not be written."""

    code = "lease_lost"

    def __init__(self, *, device_id: str, epoch: int, current: int) -> None:
        super().__init__(f"the lease on {device_id!r} with epoch {epoch} is gone (the current epoch is {current})")
        self.device_id = device_id
        self.epoch = epoch
        self.current = current


class ClockReversed(StoreError):
    """A device's clock or virtual time would go back."""

    code = "clock_reversed"

    def __init__(self, *, device_id: str, device_time_us: int, virtual_time: int) -> None:
        super().__init__(
            f"the clock of {device_id!r} is already past device time {device_time_us} µs or virtual time {virtual_time}"
        )
        self.device_id = device_id
        self.device_time_us = device_time_us
        self.virtual_time = virtual_time


class ForeignTenant(StoreError):
    """A row of another tenant was offered under a tenant's scope: a bug, not an attack, and nothing is written."""

    code = "foreign_tenant"

    @classmethod
    def unless_own(cls, scope: SystemScope | TenantScope, tenant_id: str | None) -> None:
        """Raise it, unless a matter of this tenant may be dealt with under this scope."""
        if isinstance(scope, TenantScope) and scope.tenant_id != tenant_id:
            raise cls(f"a matter of {tenant_id} under the scope of {scope.tenant_id}")

    @classmethod
    def unless_all_own(cls, scopes: Iterable[TenantScope], tenant_ids: Iterable[str]) -> None:
        """Raise it, unless the matters are of tenants whose scopes are there."""
        strangers = set(tenant_ids) - {scope.tenant_id for scope in scopes}
        if strangers:
            raise cls(f"matters of {', '.join(sorted(strangers))} under the scopes of others")


class InvalidCursor(StoreError):
    """A list cursor is not one that was given out."""

    code = "invalid_cursor"

    def __init__(self) -> None:
        super().__init__("the cursor is not one that this service gave out; start again without it")
