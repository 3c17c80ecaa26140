"""An invoice as a page to read, print and keep: one HTML file without scripts and without anything from outside."""

from __future__ import annotations

from html import escape
from string import Template
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from qpu_sdk.wire.invoices import InvoiceDocument, InvoiceLineDocument

CONTENT_SECURITY_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

_WHAT: Final = {
    "jobs": "Jobs",
    "sessions": "Sessions, qubits kept",
    "refunds": "Refunds",
    "allowance": "Free allowance of the month",
}


def invoice_page(invoice: InvoiceDocument) -> str:
    """The page."""
    preview = invoice.state == "preview"
    when = "" if invoice.issued_at is None else f"{invoice.issued_at:%Y-%m-%d %H:%M} UTC"
    facts = [
        ("Tenant", invoice.tenant),
        ("Month", f"{invoice.month} (UTC)"),
        ("Invoice", invoice.id or "not issued"),
        ("Issued", when or "this is a preview; the amounts are those recorded so far"),
    ]
    rows = [_row(line) for line in invoice.lines]
    return _PAGE.substitute(
        title=escape(f"{'Preview' if preview else 'Invoice'} {invoice.month}, {invoice.tenant}"),
        heading="Preview of an invoice" if preview else "Invoice",
        kind="preview" if preview else "issued",
        facts="\n".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts),
        rows="\n".join(rows) or '<tr><td colspan="9" class="none">Nothing was recorded in this month.</td></tr>',
        total=_credits(invoice.total_micro),
        hint="" if preview else f"<code>GET /v1/invoices/{escape(invoice.month)}/lines/{{line}}/records</code>",
    )


def _row(line: InvoiceLineDocument) -> str:
    words = (_WHAT[line.kind], line.device or "", line.lane or "", line.price_book or "")
    counted = line.kind != "allowance"
    timed = line.kind == "jobs"
    numbers = (
        f"{line.records:,}" if counted else "",
        f"{line.shots:,}" if timed else "",
        f"{line.device_us / 1e6:,.3f}" if timed else "",
        _credits(line.amount_micro),
    )
    cells = "".join(f"<td>{escape(word)}</td>" for word in words)
    return (
        f"<tr><td>{line.number}</td>{cells}" + "".join(f'<td class="n">{number}</td>' for number in numbers) + "</tr>"
    )


def _credits(micro: int) -> str:
    """Exact: six places, a real minus sign."""
    whole, rest = divmod(abs(micro), 1_000_000)
    return f"{'−' if micro < 0 else ''}{whole:,}.{rest:06}"


_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --paper: #fff; --mark: #9a5b00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9198a1; --line: #3d444d; --paper: #0d1117; --mark: #e3b341; }
}
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 3rem 1.5rem; }
h1 { font-size: 1.75rem; margin: 0 0 1.5rem; }
.preview h1, .preview tfoot { color: var(--mark); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.5rem; margin: 0 0 2rem; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); }
th, td { padding: .5rem .75rem .5rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th.n, td.n { text-align: right; white-space: nowrap; }
th:last-child, td:last-child { padding-right: 0; }
tfoot td { border-bottom: 0; border-top: 2px solid var(--ink); font-weight: 700; }
td.none, footer { color: var(--soft); }
footer { margin-top: 2rem; font-size: .875em; }
@media print {
  :root { --ink: #000; --soft: #444; --line: #999; --paper: #fff; --mark: #000; }
  body { font-size: 8pt; }
  main { margin: 0; padding: 0; max-width: none; }
  h1 { font-size: 16pt; }
  th, td { padding: 3pt 6pt 3pt 0; }
  .wide { overflow: visible; }
  tr { break-inside: avoid; }
}
</style>
</head>
<body class="$kind">
<main>
<h1>$heading</h1>
<dl>
$facts
</dl>
<div class="wide">
<table>
<thead><tr><th>Line</th><th>For</th><th>Device</th><th>Lane</th><th>Price book</th><th class="n">Records</th>\
<th class="n">Shots</th><th class="n">Device s</th><th class="n">Credits</th></tr></thead>
<tbody>
$rows
</tbody>
<tfoot><tr><td colspan="8">Total</td><td class="n">$total</td></tr></tfoot>
</table>
</div>
<footer>One credit is 1,000,000 micro-credits. What is recorded in a month of UTC belongs to it.
Every line is the sum of raw records. $hint</footer>
</main>
</body>
</html>
""")
