"""What notebooks show: true, escaped, self-contained, in light and in dark."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser

import pytest

from qpu_sdk.display.cards import (
    backend_html,
    duration,
    job_html,
    metering_html,
    provider_html,
    quote_html,
    session_html,
    usage_html,
)
from qpu_sdk.display.progress import progress_html, sentence
from qpu_sdk.wire.models import JobDocument, WaitReason
from qpu_sdk.wire.quotes import QuoteDocument
from qpu_sdk.wire.sessions import SessionDocument
from qpu_sdk.wire.usage import MeteringRecord, UsageReport

EVIL = "\"><script>alert('x')</script><img src=x onerror=alert(1)>&{}"
NOON = "2026-01-01T12:00:00Z"

JOB = {
    "id": "job_1",
    "backend": "eagle127:line-5",
    "program": "sampler",
    "state": "queued",
    "created_at": NOON,
    "finished_at": None,
    "tags": ["a"],
    "num_circuits": 1,
    "num_executions": 1,
    "shots": 4000,
    "calibration_id": "cal_1",
    "price_micro": 643_248,
    "estimated_device_s": 3.0,
    "idempotency_key": None,
    "waiting": {"message": "other jobs are before it", "jobs_ahead": 3, "start_in_s": 75.0},
}
SESSION = {
    "id": "ses_1",
    "backend": "eagle127:line-5",
    "state": "open",
    "opened_at": NOON,
    "expires_at": NOON,
    "ends_at": NOON,
    "closed_at": None,
    "ttl_s": 60,
    "max_qubits": 5,
    "region": [7, 8, 9],
    "lane": None,
    "unfinished_jobs": 0,
    "held_us_qubits": 0,
    "price_book": "p",
    "price_micro": 5,
}
QUOTE = {
    "id": "quo_1",
    "token": "qpq_secret",
    "backend": "eagle127:line-5",
    "price_micro": 1_500_000,
    "price_book": "p",
    "lane": "standard",
    "shots": 10,
    "device_us": 2_000_000,
    "footprint_qubits": 5,
    "start_in_s": 90.0,
    "expires_at": NOON,
}
USAGE = {
    "tenant": "lab",
    "since": NOON,
    "jobs": 2,
    "shots": 1200,
    "device_us": 1_000_000,
    "price_micro": 3,
    "balance_micro": -3,
    "quotas": [
        {
            "resource": "shots",
            "window": "day",
            "window_start": NOON,
            "window_end": NOON,
            "limit": 1000,
            "reserved": 50,
            "spent": 200,
            "free": 750,
        }
    ],
    "tags": [{"tag": "vqe", "jobs": 1, "shots": 7, "device_us": 1, "price_micro": 2}],
}
METERING = {
    "job_id": "job_1",
    "state": "done",
    "shots": 10,
    "device_us": 1,
    "footprint_qubits": 3,
    "price_book": "p",
    "price_micro": 1,
    "simulator_cpu_us": 1,
    "result_bytes": 1,
    "placement": [4, 5],
    "co_tenants": "0",
    "crosstalk_loss": 0.005,
    "calibration_id": None,
    "seed": 1,
    "started_at": None,
    "finished_at": None,
}


def cards(line, *, text: str | None = None) -> dict[str, str]:
    """Every card there is, with every text in it replaced."""

    def with_text(facts, *names):
        return facts | ({} if text is None else {name: [text] if name == "tags" else text for name in names})

    job = with_text(JOB, "id", "backend", "tags", "session", "error_message", "calibration_id")
    if text is not None:
        job["waiting"] = JOB["waiting"] | {"message": text}
    usage = with_text(USAGE, "tenant")
    if text is not None:
        usage["tags"] = [USAGE["tags"][0] | {"tag": text}]
    return {
        "backend": backend_html(
            line if text is None else line.model_copy(update={"name": text, "calibration_id": text})
        ),
        "job": job_html(JobDocument.model_validate(job)),
        "progress": progress_html(JobDocument.model_validate(job), 5.0),
        "session": session_html(SessionDocument.model_validate(with_text(SESSION, "id", "backend"))),
        "quote": quote_html([QuoteDocument.model_validate(with_text(QUOTE, "id", "backend", "lane", "price_book"))]),
        "usage": usage_html(UsageReport.model_validate(usage)),
        "metering": metering_html(MeteringRecord.model_validate(with_text(METERING, "job_id", "price_book", "lane"))),
        "provider": provider_html(text or "https://qpu.example.org", text),
    }


class Page(HTMLParser):
    """Tags of a page, in order, which must close in the opposite one; its attributes and its text."""

    VOID = frozenset({"line", "circle", "rect"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1] != "style":
            self.text += data


def test_names_and_tags_of_others_are_text_and_never_markup(line):
    plain, attacked = cards(line), cards(line, text=EVIL)
    for name, page in attacked.items():
        parsed = Page(page)
        assert EVIL in parsed.text, name
        assert not {"script", "img"} & set(parsed.tags), name
        assert not [value for attribute, value in parsed.attributes if attribute.startswith("on")], name
        assert set(parsed.tags) <= set(Page(plain[name]).tags) | {"tr", "th", "td", "span"}, name


def test_a_card_asks_for_nothing_from_elsewhere(line):
    for page in cards(line).values():
        outside = page.replace("http://www.w3.org/2000/svg", "").replace("https://qpu.example.org", "")
        assert not re.search(r"https?:|url\(|@import|src=|href=", outside)


def test_a_card_follows_the_theme_of_the_page_and_of_the_system(line):
    for page in cards(line).values():
        assert "prefers-color-scheme:dark" in page
        assert '[data-jp-theme-light="false"]' in page
        assert "--jp-content-font-color1" in page


def test_the_map_in_a_card_has_every_qubit_in_the_order_of_its_error(line):
    qubits = [seen.model_copy(update={"readout_error": 0.004 * 2**q}) for q, seen in enumerate(line.qubits)]
    page = backend_html(line.model_copy(update={"qubits": qubits}))
    steps = [int(step) for step in re.findall(r"<circle [^>]*--qpu-q(\d)\)'", page)]
    assert len(steps) == 5
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (0, 6)
    assert re.findall(r"<title>(\d): readout error ([^<]+)</title>", page)[0] == ("0", "4.0e-03")
    assert "4.0e-03 … 6.4e-02  readout error" in page


def test_medians_are_those_of_the_document(line):
    page = Page(backend_html(line)).text
    assert "two-qubit gate error, median8.0e-03" in page
    assert "readout error, median2.0e-02" in page
    assert "T1, median200 µs" in page


def test_a_quote_and_a_provider_show_no_secret(line):
    assert "qpq_secret" not in cards(line)["quote"]
    assert "1.500000 credits" in cards(line)["quote"]
    assert "in about 1 min 30 s" in cards(line)["quote"]


def test_a_quota_is_a_bar_as_long_as_it_is_used(line):
    page = cards(line)["usage"]
    assert "width:25.0%" in page
    assert "250 of 1,000" in page
    assert "vqe" in page


def test_objects_of_the_service_show_themselves(shared_provider, backend, bell_job):
    pages = [shared_provider, backend, bell_job, bell_job.metering(), shared_provider.usage()]
    for page in pages:
        assert "qpu-card" in Page(page._repr_html_()).attributes[0]
    assert bell_job.job_id() in bell_job._repr_html_()
    assert "<qpu_sdk" not in shared_provider._repr_html_()


@pytest.mark.parametrize(
    ("waiting", "said"),
    [
        (None, "running"),
        (WaitReason(message="", jobs_ahead=0, start_in_s=2.0), "running, next, starts in about 2 s"),
        (WaitReason(message="", jobs_ahead=3, start_in_s=None), "running, 3 before it"),
    ],
)
def test_progress_tells_the_place_in_the_queue_and_the_start(waiting, said):
    document = JobDocument.model_validate(JOB | {"state": "running", "waiting": waiting})
    assert sentence(document) == said


def test_progress_tells_parts_and_the_end():
    assert sentence(
        JobDocument.model_validate(JOB | {"state": "running", "waiting": None, "legs": 3, "legs_done": 1})
    ) == ("running, part 2 of 3")
    failed = JobDocument.model_validate(JOB | {"state": "failed", "error_message": "it broke"})
    assert sentence(failed) == "failed: it broke"


def test_durations_have_at_most_two_units():
    told = [duration(s) for s in (0.4, 59, 60, 3599, 3600, 90_000)]
    assert told == ["0 s", "59 s", "1 min 00 s", "59 min 59 s", "1 h 00 min", "25 h 00 min"]
    assert all(a != b for a, b in itertools.pairwise(told))
