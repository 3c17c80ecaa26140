"""What the SDK sends and how often: bytes of a parametric job, requests of a wait, jobs over a line that loses answers.

python benchmarks/sdk.py --json --clients out/clients.xml
"""

from __future__ import annotations

import argparse
import io
import random
import threading
import time
from statistics import median
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
from imports import import_times
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import ParameterVector
from report import report

from qpu_sdk import Patience, QPUProvider, SamplerV2
from qpu_sdk.testing.faults import Faults

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from qpu_sdk.backend import QPUBackend

_DEVICE = "eagle127"
_LINE = f"{_DEVICE}:line-5"
_GATES = 816
_PARAMETERS = 160
_BINDINGS = 100
_LOST = 0.2


def parametric(backend: QPUBackend) -> QuantumCircuit:
    """816 gates of the device, 160 of them with a parameter of their own."""
    edges = [tuple(gate.qubits) for gate in backend.document.gates if gate.name == "ecr"]
    angles = ParameterVector("angle", _PARAMETERS)
    circuit = QuantumCircuit(backend.num_qubits)
    for number in range(_GATES):
        if number % 5 == 0 and number // 5 < _PARAMETERS:
            circuit.rz(angles[number // 5], number // 5 % backend.num_qubits)
        elif number % 5 == 1:
            circuit.ecr(*edges[number // 5 % len(edges)])
        else:
            circuit.sx(number % backend.num_qubits)
    circuit.measure_all()
    assert sum(circuit.count_ops()[name] for name in ("rz", "ecr", "sx")) == _GATES
    return circuit


def qpy_bytes(circuits: Sequence[QuantumCircuit]) -> int:
    """Of these circuits as Qiskit serialises them."""
    file = io.BytesIO()
    qpy.dump(circuits, file)
    return len(file.getvalue())


def upload_bytes(backend: QPUBackend, pubs: Sequence[Any]) -> int:
    """Of the body of the request that submits these pubs; the job is cancelled."""
    transport, sizes = backend.connection.transport, []
    post = transport.post

    def noting(path: str, model: Any, content: bytes | None = None, **options: Any) -> Any:
        if path == "/jobs":
            sizes.append(len(content or b""))
        return post(path, model, content, **options)

    transport.post = noting  # the instance's own, for this one submission
    try:
        SamplerV2(backend).run(pubs, shots=1).cancel()
    finally:
        del transport.post
    return sum(sizes)


def wait_requests(service: Any, token: str, seconds: float) -> tuple[int, int]:
    """Requests of a wait for a job that the device starts so much later, and those of fetching its result then."""
    circuit = QuantumCircuit(5)
    circuit.measure_all()
    with Faults(service.url) as line, QPUProvider.connect(line.url, token, journal=False) as provider:
        backend = provider.backend(_LINE)
        service.pause(_DEVICE)
        job = SamplerV2(backend).run([circuit], shots=10)
        before = len(line.requests)
        timer = threading.Timer(seconds, service.resume, (_DEVICE,))
        start = time.monotonic()
        timer.start()
        job.wait_for_final_state()
        assert time.monotonic() - start >= seconds
        waited = len(line.requests)
        job.result()
        print("  " + ", ".join(line.requests[before:]))
        return waited - before, len(line.requests) - waited


def duplicate_jobs(service: Any, token: str, submissions: int) -> int:
    """Jobs beyond one a submission, over a line that loses every fifth answer, also of what is sent again."""
    circuit = QuantumCircuit(5)
    circuit.measure_all()
    generator = random.Random(1)  # noqa: S311 - no secret
    patience = Patience(attempts=20, first_delay_s=0.001, retry_budget=10_000)
    with (
        Faults(service.url) as line,
        QPUProvider.connect(line.url, token, patience=patience, journal=False) as provider,
    ):
        backend = provider.backend(_LINE)
        service.pause(_DEVICE)
        for _ in range(submissions):
            while generator.random() < _LOST:
                line.lose_answers()
            backend.run(circuit, shots=1, job_tags=["lossy"])
        print(f"  {line.submissions} requests for {submissions} submissions")
        jobs = provider.jobs(tag="lossy", limit=None)
    return len({job.job_id() for job in jobs}) - submissions


def client_pass(junit: Sequence[Path]) -> float | None:
    """The share of acceptance clients (modules of tests) of which no test failed."""
    clients: dict[str, bool] = {}
    for file in junit:
        for case in ET.parse(file).iter("testcase"):  # noqa: S314 - our own
            name = case.get("classname", "").rsplit(".", 1)[-1]
            failed = case.find("failure") is not None or case.find("error") is not None
            clients[name] = clients.get(name, True) and not failed
    return sum(clients.values()) / len(clients) if clients else None


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--clients", nargs="*", default=[], help="what `make test-clients` wrote: out/clients.xml …")
    parser.add_argument("--submissions", type=int, default=500)
    parser.add_argument("--wait-s", type=float, default=30.0)
    parser.add_argument("--repeats", type=int, default=11, help="of the imports")
    arguments = parser.parse_args()
    times = import_times(arguments.repeats)
    with QPUProvider.embedded() as provider:
        service: Any = provider.service
        backend = provider.backend(_LINE)
        circuit = parametric(backend)
        values = np.random.default_rng(1).uniform(-np.pi, np.pi, (_BINDINGS, _PARAMETERS))
        service.pause(_DEVICE)
        once = upload_bytes(backend, [(circuit, values)])
        one_by_one = [circuit.assign_parameters(row) for row in values]
        bound = upload_bytes(backend, [(each,) for each in one_by_one])
        service.resume(_DEVICE)
        waited, fetched = wait_requests(service, service.create_tenant("patient"), arguments.wait_s)
        twice = duplicate_jobs(service, service.create_tenant("lossy"), arguments.submissions)
    figures = {
        "upload_bytes": once,
        "upload_bytes_bound": bound,
        "upload_bytes_qpy": qpy_bytes(one_by_one),
        "upload_ratio": once / qpy_bytes(one_by_one),
        "upload_ratio_compressed": once / bound,
        "wait_requests": waited,
        "result_requests": fetched,
        "duplicate_jobs": twice,
        "import_ratio": median(times["qpu_sdk"]) / median(times["qiskit"]),
        "client_pass": client_pass(arguments.clients),
    }
    report(figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
