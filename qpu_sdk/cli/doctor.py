"""``qpu doctor``: does everything between this machine and the service work, and what to do where it does not."""

from __future__ import annotations

import typer
from rich.text import Text

from qpu_sdk.cli.checks import Finding, Verdict, examine
from qpu_sdk.cli.output import AsJson, Profile, out, write_json
from qpu_sdk.cli.root import app

_STYLE = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILED: "bold red"}


@app.command()
def doctor(profile: Profile = "default", as_json: AsJson = False) -> None:
    """Check versions, profile, address, latency, clock, key and quotas, and send a circuit to be quoted.

    Exits with 1 if something must be mended.
    """
    findings: list[Finding] = []
    for finding in examine(profile):
        findings.append(finding)
        if not as_json:
            _show(finding)
    well = all(finding.verdict is not Verdict.FAILED for finding in findings)
    if as_json:
        write_json(
            {
                "ok": well,
                "checks": [
                    {"name": one.name, "verdict": one.verdict, "found": one.found, "advice": one.advice or None}
                    for one in findings
                ],
            }
        )
    elif well:
        out.print("everything works" if all(one.verdict is Verdict.OK for one in findings) else "it works")
    if not well:
        raise typer.Exit(1)


def _show(finding: Finding) -> None:
    line = Text.assemble(
        (f"{finding.verdict:<8}", _STYLE[finding.verdict]), (f"{finding.name:<11}", "bold"), finding.found
    )
    out.print(line, soft_wrap=True)
    if finding.advice:
        out.print(Text(f"{'':19}→ {finding.advice}"), soft_wrap=True)
