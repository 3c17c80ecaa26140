"""``qpu login``, ``usage``, ``version`` and ``demo``: who one is, and what one used."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import qpu_sdk
from qpu_sdk.cli.output import AsJson, Profile, credits_of, out, write_json, write_table
from qpu_sdk.cli.root import app
from qpu_sdk.credentials import Credentials, save_profile
from qpu_sdk.demo import run_demo
from qpu_sdk.errors import QPUError
from qpu_sdk.provider import QPUProvider

if TYPE_CHECKING:
    from qpu_sdk.wire.usage import TagUsage

usage_app = typer.Typer(help="What you used, and what your quotas leave.")
app.add_typer(usage_app, name="usage", invoke_without_command=True)


@app.command()
def login(
    url: Annotated[str, typer.Option(prompt="Address of the service", help="https://…, or unix:/path.")],
    token: Annotated[str, typer.Option(prompt="Token", hide_input=True, help="Better leave it out: it is asked for.")],
    profile: Profile = "default",
    as_json: AsJson = False,
) -> None:
    """Store address and token, after trying them."""
    with QPUProvider.connect(url, token) as provider:
        count = len(provider.summaries())
    path = save_profile(Credentials(url, token), profile)
    if as_json:
        write_json({"backends": count, "profile": profile, "path": str(path)})
    else:
        out.print(f"{count} backends to use; stored as profile {profile!r} in {path}")


class _By(StrEnum):
    TAG = "tag"


@usage_app.callback(invoke_without_command=True)
def usage(
    context: typer.Context,
    by: Annotated[_By | None, typer.Option(help="What the jobs of each tag used: with two tags, under both.")] = None,
    profile: Profile = "default",
    as_json: AsJson = False,
) -> None:
    """Show what you used, and what your quotas leave."""
    if context.invoked_subcommand is not None:
        return
    shares: list[TagUsage] = []
    with QPUProvider(profile=profile) as provider:
        report = provider.usage(by=None if by is None else by.value)
        page = report
        while by is not None:
            shares += page.tags or ()
            if page.next_cursor is None:
                break
            page = provider.usage(by=by.value, cursor=page.next_cursor)
    if as_json:
        whole = {"tags": shares, "next_cursor": None} if by is not None else {}
        write_json(report.model_copy(update=whole))
        return
    out.print(
        f"{report.tenant}, since {report.since:%Y-%m-%d}: {report.jobs} jobs, {report.shots} shots, "
        f"{report.device_us / 1e6:.3f} s on devices, {credits_of(report.price_micro)} credits; "
        f"balance {credits_of(report.balance_micro)}"
    )
    rows = [
        (q.resource + (" (your own)" if q.principal else ""), q.window, q.limit, q.reserved, q.spent, q.free)
        for q in report.quotas
    ]
    write_table(("quota", "per", "limit", "reserved", "spent", "free"), rows)
    if by is not None:
        of_tags = [
            (tag.tag or "(none)", tag.jobs, tag.shots, f"{tag.device_us / 1e6:.3f}", credits_of(tag.price_micro))
            for tag in shares
        ]
        write_table(("tag", "jobs", "shots", "device s", "credits"), of_tags)


@app.command()
def demo(
    circuits: Annotated[
        Path | None, typer.Option(help="Folder with OpenQASM 2 files; by default examples/circuits, if it is there.")
    ] = None,
    picture: Annotated[Path, typer.Option(help="Where the picture of the chip goes.")] = Path("out/chip.png"),
) -> None:
    """Two tenants share one chip, in this terminal."""
    here = Path("examples/circuits")
    picture.parent.mkdir(parents=True, exist_ok=True)
    run_demo(circuits or (here if here.is_dir() else None), picture, out)


@app.command()
def version(profile: Profile = "default", as_json: AsJson = False) -> None:
    """Show the versions of this package and, if one is configured, of the service."""
    service: str | None = None
    problem: str | None = None
    try:
        with QPUProvider(profile=profile) as provider:
            service = provider.version().version
    except QPUError as error:
        problem = error.message
    if as_json:
        write_json({"qpu_sdk": qpu_sdk.__version__, "service": service, "problem": problem})
        return
    out.print(f"qpu-sdk {qpu_sdk.__version__}")
    out.print(f"service {service}" if problem is None else f"service: {problem}", style="dim" if problem else "")
