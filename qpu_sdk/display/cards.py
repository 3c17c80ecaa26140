"""Cards for notebooks: what an object is, as a small table in HTML, and a map where there is one.

A card carries its own style and asks for nothing from elsewhere. It follows Jupyter's, VS Code's or Furo's theme where
there is one, and the system's light or dark otherwise. All text is escaped: names and tags are other people's.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final

from qpu_sdk.display.chip import EDGE_LABEL, QUANTITIES, edge_errors, median, qubit_values, told
from qpu_sdk.display.colours import DARK, LIGHT
from qpu_sdk.display.vectors import device_svg, inks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from qpu_sdk.display.colours import Theme
    from qpu_sdk.wire.models import BackendDocument, JobDocument
    from qpu_sdk.wire.quotes import QuoteDocument
    from qpu_sdk.wire.sessions import SessionDocument
    from qpu_sdk.wire.usage import MeteringRecord, QuotaUsage, UsageReport

_DARK_PAGES: Final = (
    '[data-jp-theme-light="false"] .qpu-card',
    ".vscode-dark .qpu-card",
    'body[data-theme="dark"] .qpu-card',
)
_LIGHT_PAGES: Final = (
    '[data-jp-theme-light="true"] .qpu-card',
    ".vscode-light .qpu-card",
    'body[data-theme="light"] .qpu-card',
)
_STATES: Final = {"done": "good", "failed": "bad", "cancelled": "bad", "running": "busy", "queued": "busy"}


def backend_html(document: BackendDocument) -> str:
    """A backend: what it is, its medians, and its map coloured by error."""
    readout = qubit_values(document, QUANTITIES["readout_error"])
    middle = {
        EDGE_LABEL: (median(edge_errors(document).values()), ""),
        **{one.label: (median(qubit_values(document, one).values()), one.unit) for one in QUANTITIES.values()},
    }
    facts = {
        "qubits": f"{document.num_qubits} ({len(readout)} usable)",
        "kind": _kind(document),
        "instructions": " ".join(document.basis_gates),
        **{f"{label.partition(' (')[0]}, median": told(*one) for label, one in _known(middle).items()},
        "calibration": f"{document.calibration_id}, {_when(document.calibrated_at)}",
    }
    return card(document.name, facts, more=device_svg(document))


def job_html(document: JobDocument) -> str:
    """A job: its state, and why it waits or what went wrong."""
    facts = {
        "backend": document.backend,
        "program": f"{document.program}, {document.num_circuits} {_plural(document.num_circuits, 'circuit')}",
        "executions": f"{document.num_executions:,}",
        "shots": f"{document.shots:,}",
        "device time": f"{document.estimated_device_s:.3f} s",
        "price": credits_of(document.price_micro),
        "submitted": _when(document.created_at),
    }
    if document.tags:
        facts["tags"] = ", ".join(document.tags)
    if document.session:
        facts["session"] = document.session
    if document.calibration_id:
        facts["calibration"] = document.calibration_id
    if document.waiting is not None:
        facts["waiting"] = document.waiting.message
    if document.error_message:
        facts["error"] = document.error_message
    return card(document.id, facts, state=str(document.state))


def provider_html(url: str, version: str | None = None) -> str:
    """A provider: where it leads. The key is not shown."""
    return card("QPUProvider", {"service": url, "version": version or "not asked yet"})


def session_html(document: SessionDocument) -> str:
    """A session or a batch: what it holds, how long it lives, what it has cost."""
    facts = {
        "backend": document.backend,
        "opened": _when(document.opened_at),
        "ends": f"at the latest {_when(document.ends_at)}, without a job {_when(document.expires_at)}",
        "unfinished jobs": str(document.unfinished_jobs),
        "jobs cost": credits_of(document.spent_micro),
    }
    if document.closed_at is not None:
        facts["ends"] = f"closed {_when(document.closed_at)}"
    if document.kind.value == "session":
        facts["holds"] = "nothing yet" if document.region is None else _numbers(document.region)
        facts["holding cost"] = credits_of(document.price_micro)
    if document.max_cost_micro is not None:
        facts["at most"] = credits_of(document.max_cost_micro)
    state = {"open": "good", "closing": "busy"}.get(str(document.state), "")
    return card(f"{document.kind} {document.id}", facts, state=str(document.state), mood=state)


def quote_html(documents: Sequence[QuoteDocument]) -> str:
    """A quote, of a job or of all parts of one: what it would cost and when it may start. No token is shown."""
    first = documents[0]
    start = first.start_in_s
    facts = {
        "backend": first.backend,
        "price": credits_of(sum(one.price_micro for one in documents)),
        "shots": f"{sum(one.shots for one in documents):,}",
        "device time": f"{sum(one.device_us for one in documents) / 1e6:.3f} s",
        "qubits nobody else can use": str(max(one.footprint_qubits for one in documents)),
        "lane": f"{first.lane}, price book {first.price_book}",
        "may start": "not known" if start is None else "at once" if start < 1 else f"in about {duration(start)}",
        "price holds until": _when(min(one.expires_at for one in documents)),
    }
    if len(documents) > 1:
        facts["parts"] = str(len(documents))
    return card(f"quote {', '.join(one.id for one in documents[:3])}{', …' if len(documents) > 3 else ''}", facts)


def metering_html(document: MeteringRecord) -> str:
    """What a job used and cost, and where it ran."""
    facts = {
        "shots": f"{document.shots:,}",
        "device time": f"{document.device_us / 1e6:.3f} s",
        "price": f"{credits_of(document.price_micro)}, price book {document.price_book}, lane {document.lane}",
        "qubits": "none yet" if document.placement is None else _numbers(document.placement),
        "neighbours": document.co_tenants or "not known",
    }
    if document.crosstalk_loss is not None:
        facts["lost to neighbours"] = f"{100 * document.crosstalk_loss:.1f} % of success, predicted"
    if document.calibration_id:
        facts["calibration"] = document.calibration_id
    return card(f"metering of {document.job_id}", facts, state=str(document.state))


def usage_html(document: UsageReport) -> str:
    """What a tenant used, and a bar for each of its quotas."""
    facts = {
        "since": _when(document.since),
        "jobs": f"{document.jobs:,}",
        "shots": f"{document.shots:,}",
        "device time": f"{document.device_us / 1e6:.3f} s",
        "cost": credits_of(document.price_micro),
        "balance": credits_of(document.balance_micro),
    }
    rows = [
        (
            one.tag or "(no tag)",
            f"{one.jobs:,}",
            f"{one.shots:,}",
            f"{one.device_us / 1e6:.3f}",
            _micro(one.price_micro),
        )
        for one in document.tags or ()
    ]
    rows += [
        (one.principal, f"{one.jobs:,}", f"{one.shots:,}", f"{one.device_us / 1e6:.3f}", _micro(one.price_micro))
        for one in document.principals or ()
    ]
    more = "".join(_bar(quota) for quota in document.quotas)
    if rows:
        more += table(("", "jobs", "shots", "device s", "credits"), rows)
    return card(f"usage of {document.tenant}", facts, more=more)


def card(title: str, facts: Mapping[str, str], *, more: str = "", state: str = "", mood: str = "") -> str:
    """A titled table of facts with its style.

    Args:
        title: escaped here, as are the facts.
        facts: name → value.
        more: HTML to put below; its maker has escaped it.
        state: a word beside the title.
        mood: its colour: ``good``, ``bad`` or ``busy``; by default that of a job in that state.
    """
    badge = ""
    if state:
        kind = mood or _STATES.get(state, "")
        badge = f" <span class='qpu-state {kind}'>{html.escape(state)}</span>"
    rows = "".join(
        f"<tr><th scope='row'>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
        for name, value in facts.items()
    )
    return (
        f"<div class='qpu-card'>{_STYLE}<div class='qpu-title'>{html.escape(title)}{badge}</div>"
        f"<table>{rows}</table>{more}</div>"
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with a head; everything is escaped."""
    head = "".join(f"<th scope='col'>{html.escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table class='qpu-rows'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def credits_of(micro: int) -> str:
    """Money for people."""
    return f"{_micro(micro)} credits"


def duration(seconds: float) -> str:
    """A time for people, in one or two units."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def _bar(quota: QuotaUsage) -> str:
    used = quota.spent + quota.reserved
    part = min(100.0, 100.0 * used / quota.limit) if quota.limit else 100.0
    whose = " (your own)" if quota.principal else ""
    name = html.escape(f"{quota.resource} per {quota.window}{whose}")
    return (
        f"<div class='qpu-quota'><span>{name}</span><span class='qpu-bar'><i style='width:{part:.1f}%'></i></span>"
        f"<span>{used:,} of {quota.limit:,}</span></div>"
    )


def _known(middle: Mapping[str, tuple[float | None, str]]) -> dict[str, tuple[float, str]]:
    return {label: (value, unit) for label, (value, unit) in middle.items() if value is not None}


def _kind(document: BackendDocument) -> str:
    return str(document.kind) if document.regions is None else f"{document.kind}, fits on {document.regions} regions"


def _micro(micro: int) -> str:
    return f"{micro / 1e6:,.6f}"


def _when(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _numbers(qubits: Sequence[int]) -> str:
    return ", ".join(map(str, qubits))


def _plural(number: int, word: str) -> str:
    return word if number == 1 else f"{word}s"


def _colours(theme: Theme, *, good: str, bad: str, busy: str) -> str:
    scales = "".join(
        f"--qpu-{name}{number}:{colour};"
        for name, stops in (("q", theme.qubits), ("e", theme.edges))
        for number, colour in enumerate(stops)
    )
    return (
        f"--qpu-ink0:{theme.ink};--qpu-soft0:{theme.soft};--qpu-faint:{theme.faint};--qpu-bar:{theme.first};"
        f"--qpu-good:{good};--qpu-bad:{bad};--qpu-busy:{busy};{scales}{inks(theme.qubits)}"
    )


_LIGHT: Final = _colours(LIGHT, good="#00684a", bad="#b3261e", busy="#8a5200")
_DARK: Final = _colours(DARK, good="#4fd1a5", bad="#ff9a91", busy="#ffc46b")

_STYLE: Final = (
    "<style>"
    f".qpu-card{{{_LIGHT}}}"
    f"@media (prefers-color-scheme:dark){{.qpu-card{{{_DARK}}}}}"
    f"{','.join(_LIGHT_PAGES)}{{{_LIGHT}}}"
    f"{','.join(_DARK_PAGES)}{{{_DARK}}}"
    ".qpu-card{--qpu-ink:var(--jp-content-font-color1,var(--vscode-editor-foreground,var(--qpu-ink0)));"
    "--qpu-soft:var(--jp-border-color2,var(--vscode-panel-border,var(--qpu-soft0)));"
    "color:var(--qpu-ink);font-size:13px;line-height:1.45;max-width:60em}"
    ".qpu-card .qpu-title{font-weight:600;font-size:14px;margin:0 0 4px}"
    ".qpu-card table{border-collapse:collapse;margin:0 0 8px;color:inherit;background:none;font-size:inherit}"
    ".qpu-card tr,.qpu-card tbody tr:nth-child(odd),.qpu-card tbody tr:nth-child(even){background:none}"
    ".qpu-card th,.qpu-card td{text-align:left;padding:1px 14px 1px 0;border:0;border-bottom:1px solid var(--qpu-soft);"
    "vertical-align:top;background:none;color:inherit}"
    ".qpu-card th{font-weight:400;opacity:.72;white-space:nowrap}"
    ".qpu-card td{overflow-wrap:anywhere}"
    ".qpu-card .qpu-rows td+td,.qpu-card .qpu-rows th+th{text-align:right}"
    ".qpu-card .qpu-state{font-weight:600;font-size:12px;padding:0 7px;border:1px solid currentColor;border-radius:9px}"
    ".qpu-card .good{color:var(--qpu-good)}.qpu-card .bad{color:var(--qpu-bad)}.qpu-card .busy{color:var(--qpu-busy)}"
    ".qpu-card .qpu-quota{display:grid;grid-template-columns:13em 12em auto;gap:10px;align-items:center}"
    ".qpu-card .qpu-bar{height:8px;background:var(--qpu-soft);border-radius:4px;overflow:hidden}"
    ".qpu-card .qpu-bar i{display:block;height:100%;background:var(--qpu-bar)}"
    ".qpu-card svg{max-width:100%;height:auto;display:block}"
    ".qpu-card svg text{font-family:inherit}"
    "</style>"
)
