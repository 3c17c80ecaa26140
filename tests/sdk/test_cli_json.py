"""``qpu`` for programs and at the keyboard: one JSON document or one error, programs that run, TAB, and the doctor."""

from __future__ import annotations

import http.server
import json
import sys
import threading

import pytest
from typer.testing import CliRunner

from qpu_sdk import cli
from qpu_sdk.cli import checks
from qpu_sdk.wire.crosstalk import CrosstalkDocument
from qpu_sdk.wire.models import BackendDocument, BackendSummary, JobDocument
from qpu_sdk.wire.usage import UsageReport

BELL_2 = """OPENQASM 2.0;
include "qelib1.inc";
qreg q[2];
creg c[2];
h q[0];
cx q[0], q[1];
measure q -> c;
"""
BELL_3 = """// a Bell pair
OPENQASM 3.0;
include "stdgates.inc";
qubit[2] q;
bit[2] c;
h q[0];
cx q[0], q[1];
c = measure q;
"""
LINE = "eagle127:line-5"


@pytest.fixture
def home(qpu_service, monkeypatch, tmp_path):
    monkeypatch.setenv("QPU_URL", qpu_service.url)
    monkeypatch.setenv("QPU_TOKEN", qpu_service.token)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def run(home, monkeypatch, capsys):  # noqa: ARG001 - what the command reads
    """Run ``qpu`` as its entry point does: exit code, standard output, standard error."""

    def called(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["qpu", *arguments])
        code: object = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return int(code or 0), captured.out, captured.err

    return called


@pytest.fixture
def json_of(run):
    """The one document that a command writes."""

    def document(*arguments: str):
        code, out, err = run(*arguments, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)

    return document


def write(folder, text, name="bell.qasm") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


# --- documents ----------------------------------------------------------------------------------------------------


def test_every_command_that_shows_something_writes_one_document(json_of, bell_job):
    job_id = bell_job.job_id()
    assert LINE in {BackendSummary.model_validate(one).name for one in json_of("backends")["backends"]}
    shown = json_of("backend", LINE)
    assert BackendDocument.model_validate(shown["backend"]).num_qubits == 5
    assert shown["status"]["operational"]
    assert CrosstalkDocument.model_validate(json_of("backend", LINE, "--crosstalk")).name == LINE
    assert job_id in {JobDocument.model_validate(one).id for one in json_of("jobs", "--state", "done")["jobs"]}
    told = json_of("job", job_id, "--counts")
    assert set(told) == {"job", "events", "metering", "counts"}
    assert told["metering"]["placement"] == bell_job.metering().placement
    assert sum(told["counts"][0]["counts"].values()) == 200
    assert UsageReport.model_validate(json_of("usage", "--by", "tag")).tags
    assert set(json_of("version")) == {"qpu_sdk", "service", "problem"}


def test_login_says_where_it_stored(json_of, qpu_service, home):
    told = json_of("login", "--url", qpu_service.url, "--token", qpu_service.token)
    assert told["path"].startswith(str(home))
    assert told["backends"] > 5


@pytest.mark.parametrize(
    ("arguments", "code", "name"),
    [
        (("job", "job_nothing"), 1, "not_found"),
        (("backend", "nix"), 1, "unknown_backend"),
        (("jobs", "--state", "odd"), 1, "invalid_request"),
        (("jobs", "--nonsense"), 2, "usage"),
        (("run", "no-such-file.qasm"), 2, "usage"),
    ],
)
def test_an_error_is_a_document_on_stderr_and_an_exit_code(run, arguments, code, name):
    found, out, err = run(*arguments, "--json")
    assert (found, out) == (code, "")
    error = json.loads(err)["error"]
    assert error["code"] == name
    assert error["message"]


# --- programs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [BELL_2, BELL_3], ids=["OpenQASM 2", "OpenQASM 3"])
def test_a_program_is_compiled_priced_run_and_counted(json_of, home, text):
    told = json_of("run", write(home, text), "--backend", LINE, "--shots", "300", "--wait", "--tag", "cli-run")
    counts = told["counts"][0]["counts"]
    assert sum(counts.values()) == 300
    assert counts["00"] + counts["11"] > 240
    job = JobDocument.model_validate(told["job"])
    assert (job.price_micro, job.quote_id) == (told["quote"]["price_micro"], told["quote"]["ids"][0])
    assert job.tags == ["cli-run"]


def test_a_quote_and_an_estimate_submit_nothing(json_of, run, home):
    file = write(home, BELL_2)
    before = json_of("usage")["jobs"], len(json_of("jobs")["jobs"])
    quoted = json_of("quote", file, "--backend", LINE, "--shots", "300", "--optimization-level", "0")
    assert quoted["quote"]["price_micro"] > 0
    estimated = json_of("run", file, "--backend", LINE, "--estimate")
    assert estimated["job"] is None
    assert 0.8 < estimated["predicted_success"] < 1
    code, out, _ = run("run", file, "--estimate")  # on the least busy that it fits on
    assert code == 0
    assert "nothing was submitted" in out
    assert (json_of("usage")["jobs"], len(json_of("jobs")["jobs"])) == before


def test_what_cannot_run_is_refused_in_one_sentence(run, home):
    file = write(home, BELL_2)
    for arguments, reason in (
        ((file, "--backend", LINE, "--max-cost", "0.00001"), "nothing was submitted"),
        ((write(home, "hello", "bad.qasm"), "--backend", LINE), "is not OpenQASM"),
        ((write(home, BELL_2.replace("[2]", "[9]"), "wide.qasm"), "--backend", LINE), "choose a larger backend"),
        ((write(home, BELL_2.replace("measure q -> c;", ""), "blind.qasm"), "--backend", LINE), "measure"),
    ):
        code, _, err = run("run", *arguments)
        assert code == 1
        assert reason in err
        assert err.count("\n") == 1


# --- for people ---------------------------------------------------------------------------------------------------


def test_a_backend_is_shown_with_its_map_and_a_job_with_its_place(run, bell_job):
    _, out, _ = run("backend", LINE)
    assert "0 ── 1 ── 2 ── 3 ── 4" in out
    _, out, _ = run("backend", "eagle127", "--qubits", "t1_us")
    assert "T1 (µs)" in out
    _, out, _ = run("job", bell_job.job_id(), "--draw")
    assert all(f"{qubit}A" in out for qubit in bell_job.metering().placement)


# --- TAB ----------------------------------------------------------------------------------------------------------


def completed(words: str) -> set[str]:
    environment = {"_QPU_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": words}
    result = CliRunner().invoke(cli.app, env=environment, prog_name="qpu")
    return {part.split('":')[0] for part in result.output.split('"')[1::2]} if '"' in result.output else set()


@pytest.mark.usefixtures("home")
def test_tab_offers_backends_and_jobs_of_the_service(bell_job):
    job_id = bell_job.job_id()
    assert LINE.replace(":", "\\:") in {name.replace("\\\\", "\\") for name in completed("qpu backend eagle127:line-")}
    assert any(job_id in name for name in completed(f"qpu job {job_id[:12]}"))
    assert any("eagle127" in name for name in completed("qpu run x.qasm --backend ea"))


def test_tab_offers_nothing_where_no_service_answers(monkeypatch, tmp_path):
    monkeypatch.setenv("QPU_URL", f"unix:{tmp_path}/nobody.sock")
    monkeypatch.setenv("QPU_TOKEN", "t")
    assert not any("eagle" in name for name in completed("qpu backend ea"))


# --- the doctor ---------------------------------------------------------------------------------------------------


def findings(document) -> dict[str, str]:
    return {one["name"]: one["verdict"] for one in document["checks"]}


def test_the_doctor_finds_that_all_is_well_and_sends_a_circuit(json_of):
    told = json_of("doctor")
    assert told["ok"]
    assert set(findings(told)) == {
        *("versions", "profile", "address", "latency", "clock", "qpy", "key", "quotas", "round trip")
    }
    assert findings(told)["round trip"] == "ok"
    assert "nothing ran" in told["checks"][-1]["found"]


def test_the_doctor_says_what_to_do(run, home, monkeypatch, qpu_service):
    monkeypatch.setenv("QPU_TOKEN", "wrong")
    code, out, _ = run("doctor")
    assert code == 1
    assert "run qpu login with another" in out
    monkeypatch.setenv("QPU_URL", f"unix:{home}/nobody.sock")
    code, out, _ = run("doctor")
    assert code == 1
    assert "does not answer" in out
    monkeypatch.delenv("QPU_URL")
    monkeypatch.delenv("QPU_TOKEN")
    code, out, _ = run("doctor")
    assert code == 1
    assert "run qpu login" in out
    run("login", "--url", qpu_service.url, "--token", qpu_service.token)
    (path,) = (home / "qpu").iterdir()
    path.chmod(0o644)
    with pytest.warns(UserWarning, match="chmod 600"):
        code, out, _ = run("doctor", "--json")
    told = json.loads(out)
    assert (code, told["ok"], findings(told)["profile"]) == (1, False, "failed")
    assert f"chmod 600 {path}" in out


def test_the_doctor_tells_by_how_much_the_clock_is_wrong():
    class Yesterday(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def date_time_string(self, timestamp=None):
            return super().date_time_string(0 if timestamp is None else timestamp)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Yesterday) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        probe = checks.probe_service(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert probe.skew_s > 10**9
    assert probe.certificate_days is None
    finding = checks._clock(probe)
    assert finding.verdict is checks.Verdict.FAILED
    assert "ahead of the service" in finding.found
