"""``qpu tenant credit`` and ``qpu usage refund``: money that is brought, and money that is given back."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from qpu_backend.bootstrap import SYSTEM
from qpu_backend.cli.opening import ConfigFile, DatabaseUrl, DataFolder, console, opened
from qpu_backend.cli.tenants import tenant_app
from qpu_backend.config import load_config
from qpu_backend.domain.audit import CLI
from qpu_backend.pipeline.clocks import SystemClock
from qpu_backend.pipeline.crediting import Crediting

if TYPE_CHECKING:
    from collections.abc import Generator

    from qpu_backend.config import ServiceConfig

__all__ = ["refund", "tenant_app"]

_LONGEST_REASON: Final = 200
_LONGEST_REFERENCE: Final = 128
_MOST_MICRO: Final = 10**15


def _a_line(longest: int, text: str) -> str:
    if not 0 < len(text) <= longest or not text.isprintable():
        raise typer.BadParameter(f"it must be one line of 1 to {longest} characters")
    return text


def _a_reason(text: str) -> str:
    return _a_line(_LONGEST_REASON, text)


def _a_reference(text: str | None) -> str | None:
    return None if text is None else _a_line(_LONGEST_REFERENCE, text)


_Reason = Annotated[str, typer.Option(callback=_a_reason, help="For the audit log.")]
_Reference = Annotated[
    str | None, typer.Option(callback=_a_reference, help="Names it: told twice with the same one, it is done once.")
]


@contextmanager
def _crediting(config: ServiceConfig) -> Generator[Crediting]:
    with opened(config) as database:
        yield Crediting(database, SYSTEM, SystemClock())


@tenant_app.command("credit")
def credit_tenant(
    name: str,
    amount: Annotated[int, typer.Argument(min=1, max=_MOST_MICRO, help="Micro-credits; a credit has 1,000,000.")],
    reason: _Reason,
    reference: _Reference = None,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Add credits to a tenant's account."""
    with _crediting(load_config(config, data=data, database=database)) as office:
        entry = office.credit(name, amount, reason=reason, reference=reference, actor=CLI)
    done = "credited" if entry.new else "had been credited before"
    console.print(f"{name}: {entry.amount_micro} micro-credits {done}; balance {entry.balance_micro}", soft_wrap=True)


def refund(
    usage_id: Annotated[str, typer.Argument(help="Id of a usage record, or of a closed session.")],
    reason: _Reason,
    reference: _Reference = None,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Give back what was charged for a job or a session, once, all of it."""
    with _crediting(load_config(config, data=data, database=database)) as office:
        entry = office.refund(usage_id, reason=reason, reference=reference, actor=CLI)
    done = "given back" if entry.new else "had been given back before"
    line = f"{usage_id}: {entry.amount_micro} micro-credits {done} to {entry.transaction.tenant_id}"
    console.print(f"{line}; balance {entry.balance_micro}", soft_wrap=True)
