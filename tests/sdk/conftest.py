"""Documents as a service publishes them, made from the real device file."""

from __future__ import annotations

import json
from importlib import resources

import pytest

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
        GateCalibration(name=gate, qubits=[q], error=0.0 if gate == "rz" else 2e-4, duration_ns=0.0 if gate == "rz" else 60.0)
        for q in range(num_qubits)
        for gate in ("rz", "sx", "x", "id")
    ]
    gates += [GateCalibration(name="ecr", qubits=list(edge), error=8e-3, duration_ns=660.0) for edge in edges]
    document = {
        "name": name,
        "device": name.split(":")[0],
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
    text = resources.files("qpu_backend.physics.catalog").joinpath("eagle127.json").read_text(encoding="utf-8")
    return _document("eagle127", 127, _edges(json.loads(text)))


def _edges(device: dict) -> list[tuple[int, int]]:
    from qpu_backend.physics.catalog.parse import parse_device

    model, _ = parse_device(device)
    return [tuple(edge) for edge in model.topology.edges]


@pytest.fixture
def limits() -> Limits:
    return LIMITS


@pytest.fixture
def rules(line: BackendDocument) -> CircuitRules:
    return CircuitRules.of(line, LIMITS)
