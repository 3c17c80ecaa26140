"""Documents as a service publishes them, and ways to the embedded service, straight and through a flaky proxy."""

from __future__ import annotations

import contextlib
import re
import socket
import threading

import pytest
from qiskit import QuantumCircuit, transpile

from qpu_backend.engines.catalogue import read_device
from qpu_sdk import Patience, QPUProvider, SamplerV2
from qpu_sdk.validation import CircuitRules
from qpu_sdk.wire.models import BackendDocument, GateCalibration, Limits, QubitCalibration

LIMITS = Limits(
    max_body_bytes=8_000_000,
    max_circuits=300,
    max_shots=100_000,
    max_executions=10_000,
    max_qubits=127,
    max_clbits=1_000,
    max_operations=100_000,
    max_simulated_qubits=24,
    max_result_bytes=100_000_000,
)


def _document(name: str, num_qubits: int, edges: list[tuple[int, int]], **changes: object) -> BackendDocument:
    qubit = QubitCalibration(
        t1_us=200.0,
        t2_us=150.0,
        frequency_hz=4.9e9,
        anharmonicity_hz=-3.1e8,
        prob_meas1_prep0=0.01,
        prob_meas0_prep1=0.03,
        readout_error=0.02,
        readout_duration_ns=1300.0,
    )
    gates = [
        GateCalibration(
            name=gate, qubits=[q], error=0.0 if gate == "rz" else 2e-4, duration_ns=0.0 if gate == "rz" else 60.0
        )
        for q in range(num_qubits)
        for gate in ("rz", "sx", "x", "id")
    ]
    gates += [GateCalibration(name="ecr", qubits=list(edge), error=8e-3, duration_ns=660.0) for edge in edges]
    document = {
        "name": name,
        "device": name.partition(":")[0],
        "kind": "virtual" if ":" in name else "device",
        "description": "",
        "num_qubits": num_qubits,
        "basis_gates": ["rz", "sx", "x", "id", "ecr", "delay", "measure", "reset"],
        "control_flow": ["if_else"],
        "dt_ns": 0.5,
        "granularity": 1,
        "pulse_alignment": 1,
        "acquire_alignment": 1,
        "rep_delay_us": 250.0,
        "rep_delay_range_us": (0.0, 500.0),
        "overhead_s": 0.5,
        "max_shots": 100_000,
        "max_circuits": 300,
        "max_simulated_qubits": 24,
        "calibration_id": "cal_1",
        "calibrated_at": "2026-01-01T00:00:00Z",
        "device_time_us": 0,
        "source": "test",
        "qubits": [qubit] * num_qubits,
        "gates": gates,
        **changes,
    }
    return BackendDocument.model_validate(document)


@pytest.fixture
def line() -> BackendDocument:
    """Five qubits in a line; ecr from the lower to the higher number only."""
    return _document("eagle127:line-5", 5, [(0, 1), (1, 2), (2, 3), (3, 4)])


@pytest.fixture
def broken_line(line: BackendDocument) -> BackendDocument:
    """The line with qubit 4 unusable and both directions of cz."""
    gates = [gate.model_copy(update={"name": "cz"}) if gate.name == "ecr" else gate for gate in line.gates]
    basis = ["cz" if name == "ecr" else name for name in line.basis_gates]
    return line.model_copy(update={"qubits": [*line.qubits[:4], None], "gates": gates, "basis_gates": basis})


@pytest.fixture(scope="session")
def eagle() -> BackendDocument:
    """The 127-qubit device, with the coupling of its real file and even numbers."""
    model, _ = read_device("eagle127")
    return _document("eagle127", 127, [tuple(edge) for edge in model.topology.edges])


@pytest.fixture
def limits() -> Limits:
    return LIMITS


@pytest.fixture
def rules(line: BackendDocument) -> CircuitRules:
    return CircuitRules.of(line, LIMITS)


class FlakyProxy:
    """A TCP proxy on loopback in front of the service's Unix socket that loses answers and cuts connections on request.

    Attributes:
        lose_answers: how many answers to ``POST /v1/jobs`` are thrown away together with their connection.
        lose_requests: how many ``POST /v1/jobs`` never reach the service.
        keep_answers: whether they are kept back, with the connection left open.
        answered: set when one was kept back.
        refuse_streams: whether ``GET /v1/events`` finds the connection closed.
        requests: request lines seen, in order.
    """

    def __init__(self, socket_path: str) -> None:
        self.lose_answers = 0
        self.lose_requests = 0
        self.keep_answers = False
        self.answered = threading.Event()
        self.refuse_streams = False
        self.requests: list[str] = []
        self._upstream = socket_path
        self._open: set[socket.socket] = set()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_everything(self) -> None:
        """Break every connection there is."""
        for connection in list(self._open):
            self._hang_up(connection)

    def close(self) -> None:
        self._server.close()
        self.cut_everything()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                upstream = socket.socket(socket.AF_UNIX)
                upstream.connect(self._upstream)
                self._open |= {client, upstream}
                waiting_for: list[str] = []
                for end in (
                    threading.Thread(target=self._up, args=(client, upstream, waiting_for), daemon=True),
                    threading.Thread(target=self._down, args=(client, upstream, waiting_for), daemon=True),
                ):
                    end.start()

    def _up(self, client: socket.socket, upstream: socket.socket, waiting_for: list[str]) -> None:
        with contextlib.suppress(OSError):
            while chunk := client.recv(65536):
                if match := re.match(rb"(GET|POST) (\S+) HTTP/1.1\r\n", chunk):
                    line = f"{match[1].decode()} {match[2].decode()}"
                    self.requests.append(line)
                    waiting_for[:] = [line]
                    if self.lose_requests and line == "POST /v1/jobs":
                        self.lose_requests -= 1
                        break
                    if self.refuse_streams and line == "GET /v1/events":
                        break
                upstream.sendall(chunk)
        self._hang_up(client)
        self._hang_up(upstream)

    def _down(self, client: socket.socket, upstream: socket.socket, waiting_for: list[str]) -> None:
        with contextlib.suppress(OSError):
            while chunk := upstream.recv(65536):
                if self.lose_answers and waiting_for == ["POST /v1/jobs"]:
                    self.lose_answers -= 1
                    break
                if self.keep_answers and waiting_for == ["POST /v1/jobs"]:
                    self.answered.set()
                    continue
                client.sendall(chunk)
        self._hang_up(client)
        self._hang_up(upstream)

    def _hang_up(self, connection: socket.socket) -> None:
        self._open.discard(connection)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


@pytest.fixture
def proxy(qpu_service):
    """A flaky way to the embedded service."""
    flaky = FlakyProxy(qpu_service.url.removeprefix("unix:"))
    yield flaky
    flaky.close()


@pytest.fixture
def through_proxy(qpu_service, proxy):
    """A provider that goes through the flaky proxy."""
    with QPUProvider.connect(proxy.url, qpu_service.token, patience=Patience(first_delay_s=0.02)) as provider:
        yield provider


@pytest.fixture(scope="session")
def shared_provider(qpu_service):
    """One provider for all tests that only look."""
    with QPUProvider.connect(qpu_service.url, qpu_service.token) as provider:
        yield provider


@pytest.fixture(scope="session")
def backend(shared_provider):
    """The virtual five-qubit line."""
    return shared_provider.backend("eagle127:line-5")


@pytest.fixture(scope="session")
def device(shared_provider):
    """The whole chip."""
    return shared_provider.backend("eagle127")


@pytest.fixture(scope="session")
def bell_job(backend):
    """A Bell pair that was sampled."""
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    job = SamplerV2(backend).run([transpile(circuit, backend, seed_transpiler=1)], shots=200)
    job.result()
    return job
