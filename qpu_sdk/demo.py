# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (Qiskit ships no types: what comes from it is unknown to the checker.)
"""``qpu demo``: two tenants share one chip, and everybody sees what they may see.

Each submits real algorithms with its own key to the virtual QPU that fits them. The scheduler finds the regions. Then
every job of the fullest batch runs once more on the same qubits, alone, so that the price of having neighbours is a
measured number.
"""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from qiskit import QuantumCircuit, qasm2, qasm3, transpile
from qiskit.circuit.library import QFTGate, qaoa_ansatz
from qiskit.quantum_info import SparsePauliOp, Statevector, hellinger_fidelity
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from qpu_sdk.display.maps import draw_device
from qpu_sdk.display.text import device_text
from qpu_sdk.errors import QuotaExceededError
from qpu_sdk.provider import QPUProvider

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rich.console import Console

    from qpu_sdk.job import QPUJob
    from qpu_sdk.wire.operations import BatchDocument

DEVICE: Final = "eagle127"
SHOTS: Final = 4000
SEED: Final = 7
QUOTA_SHOTS: Final = 20_000
"""Of the second tenant, a day: enough for its part, not for more."""

_NEGLIGIBLE: Final = 1e-9
_OUTCOMES: Final = 2
"""How many of the likeliest outcomes are shown."""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A circuit to run: measured, not transpiled."""

    name: str
    circuit: QuantumCircuit

    def ideal(self) -> dict[str, float]:
        """Probability of each outcome on a perfect device."""
        bare = self.circuit.copy_empty_like()
        qubit_of: dict[int, int] = {}
        for instruction in self.circuit.data:
            if instruction.operation.name == "measure":
                clbit = self.circuit.find_bit(instruction.clbits[0]).index
                qubit_of[clbit] = self.circuit.find_bit(instruction.qubits[0]).index
            elif instruction.operation.name != "barrier":
                bare.append(instruction)
        measured = [qubit_of[clbit] for clbit in sorted(qubit_of)]
        probabilities = Statevector(bare).probabilities_dict(measured)
        return {str(outcome): float(p) for outcome, p in probabilities.items() if p > _NEGLIGIBLE}


@dataclass(frozen=True, slots=True)
class Ran:
    """An algorithm that a tenant ran."""

    tenant: str
    algorithm: Algorithm
    isa: QuantumCircuit
    job: QPUJob

    def fidelity(self) -> float:
        """Hellinger fidelity of the counts with the ideal distribution."""
        return float(hellinger_fidelity(counts_of(self.job), self.algorithm.ideal()))


def counts_of(job: QPUJob) -> dict[str, int]:
    """Counts of a job with one circuit."""
    return job.result().get_counts()


def algorithms(folder: Path | None) -> tuple[list[Algorithm], list[Algorithm]]:
    """What the first and the second tenant run: OpenQASM files where there are some, and circuits built here."""
    files = sorted(folder.glob("*.qasm")) if folder is not None and folder.is_dir() else []
    read = [Algorithm(file.stem, read_openqasm(file)) for file in files]
    built = [
        Algorithm("ghz", ghz(5)),
        Algorithm("bernstein_vazirani", bernstein_vazirani("1011")),
        Algorithm("qft", qft(4)),
        Algorithm("qaoa", qaoa_path(5)),
        Algorithm("vqe_ansatz", vqe_ansatz(5)),
    ]
    smaller = [
        Algorithm("ghz_4", ghz(4)),
        Algorithm("bernstein_vazirani_4", bernstein_vazirani("110")),
        Algorithm("qft_5", qft(5)),
    ]
    return read or smaller, built


def read_openqasm(file: Path) -> QuantumCircuit:
    """A circuit from a file in OpenQASM 2 or 3, whichever it says it is."""
    text = file.read_text(encoding="utf-8")
    return qasm3.loads(text) if "OPENQASM 3" in text else qasm2.loads(text)


def ghz(num_qubits: int) -> QuantumCircuit:
    """(|0…0⟩ + |1…1⟩)/√2."""
    circuit = QuantumCircuit(num_qubits)
    circuit.h(0)
    for qubit in range(num_qubits - 1):
        circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    return circuit


def bernstein_vazirani(secret: str) -> QuantumCircuit:
    """Finds the secret in one query; the rightmost bit is qubit 0."""
    size = len(secret)
    circuit = QuantumCircuit(size + 1)
    circuit.x(size)
    circuit.h(range(size + 1))
    for qubit, bit in enumerate(reversed(secret)):
        if bit == "1":
            circuit.cx(qubit, size)
    circuit.h(range(size + 1))
    circuit.x(size)
    circuit.measure_all()
    return circuit


def qft(num_qubits: int) -> QuantumCircuit:
    """A state with one frequency, and the inverse Fourier transform that reads it: ends in 0101."""
    circuit = QuantumCircuit(num_qubits)
    frequency = sum(1 << bit for bit in range(0, num_qubits, 2))
    for qubit in range(num_qubits):
        circuit.h(qubit)
        circuit.p(2 * math.pi * frequency * 2**qubit / 2**num_qubits, qubit)
    circuit.append(QFTGate(num_qubits).inverse(), range(num_qubits))
    circuit.measure_all()
    return circuit


def qaoa_path(num_qubits: int) -> QuantumCircuit:
    """One layer of QAOA for MaxCut on a path, at good angles."""
    cost = SparsePauliOp.from_sparse_list([("ZZ", [q, q + 1], 0.5) for q in range(num_qubits - 1)], num_qubits)
    ansatz = qaoa_ansatz(cost, reps=1)
    circuit = ansatz.assign_parameters([math.pi / 8, math.pi / 4]).decompose(reps=3)
    circuit.measure_all()
    return circuit


def vqe_ansatz(num_qubits: int) -> QuantumCircuit:
    """Two layers of a hardware-efficient ansatz at fixed angles."""
    circuit = QuantumCircuit(num_qubits)
    for layer in range(2):
        for qubit in range(num_qubits):
            circuit.ry(0.4 + 0.3 * layer + 0.1 * qubit, qubit)
        for qubit in range(num_qubits - 1):
            circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    return circuit


def run_demo(circuits: Path | None, picture: Path | None, out: Console) -> None:
    """The main job, from start to end.

    Args:
        circuits: folder with OpenQASM 2 files, or ``None`` for the built-in circuits only.
        picture: where to write the chip as a PNG, or ``None``.
        out: the terminal.
    """
    started = time.perf_counter()
    out.rule("[bold]two tenants, one chip")
    with QPUProvider.embedded(devices={DEVICE: {"buffer": 0}}) as operator:
        service: Any = operator.service
        keys = {
            "alice": service.create_tenant("alice"),
            "bob": service.create_tenant("bob", shots_per_day=QUOTA_SHOTS),
        }
        providers = {name: QPUProvider.connect(service.url, key) for name, key in keys.items()}
        watcher = QPUProvider.connect(service.url, service.operator_token)
        try:
            _tell_device(operator, out)
            work = dict(zip(providers, algorithms(circuits), strict=True))
            service.pause(DEVICE)
            ran = _submit_together(providers, work, out)
            service.resume(DEVICE)
            for one in ran:
                one.job.result()
            batch = _fullest(watcher.batches(DEVICE))
            _tell_batch(operator, batch, picture, out)
            alone = _run_alone(operator.backend(DEVICE), ran)
            for tenant in providers:
                _tell_results(tenant, [one for one in ran if one.tenant == tenant], alone, out)
            _tell_refusal(providers["bob"], work["bob"][0], out)
            _tell_usage(providers, out)
        finally:
            for provider in (*providers.values(), watcher):
                provider.close()
    out.print(
        "F: Hellinger fidelity with the ideal; alone: same qubits and seed, empty chip\n"
        "near: other tenants in the batch; loss: predicted loss of success to them\n"
        f"{time.perf_counter() - started:.1f} s in all",
        highlight=False,
    )


def _tell_device(provider: QPUProvider, out: Console) -> None:
    document = provider.backend(DEVICE).document
    out.print(f"\n[bold]{DEVICE}[/]: {document.description}\n{document.source}", highlight=False)


def _submit_together(providers: dict[str, QPUProvider], work: dict[str, list[Algorithm]], out: Console) -> list[Ran]:
    """Transpile everything for the shape it needs, then submit both tenants' jobs at the same time."""
    ready: dict[str, list[tuple[Algorithm, Any, QuantumCircuit]]] = {}
    for tenant, provider in providers.items():
        backends = {n: provider.backend(f"{DEVICE}:line-{n}") for n in {a.circuit.num_qubits for a in work[tenant]}}
        ready[tenant] = []
        for algorithm in work[tenant]:
            backend = backends[algorithm.circuit.num_qubits]
            isa = transpile(algorithm.circuit, backend, optimization_level=3, seed_transpiler=SEED)
            ready[tenant].append((algorithm, backend, isa))

    def submit(tenant: str) -> list[Ran]:
        return [
            Ran(tenant, algorithm, isa, backend.run(isa, shots=SHOTS, seed_simulator=SEED))
            for algorithm, backend, isa in ready[tenant]
        ]

    with ThreadPoolExecutor(len(providers)) as threads:
        ran = [one for jobs in threads.map(submit, providers) for one in jobs]
    counts = ", ".join(f"{tenant} {len(jobs)}" for tenant, jobs in ready.items())
    out.print(
        f"\nWhile the chip is busy, jobs of {SHOTS} shots come in ({counts}), each\n"
        "transpiled once, for a shape and not for a place.",
        highlight=False,
    )
    return ran


def _fullest(batches: Iterable[BatchDocument]) -> BatchDocument:
    """The batch with most tenants and, of those, most jobs."""
    return max(batches, key=lambda batch: (len({one.tenant for one in batch.placements}), len(batch.placements)))


def _tell_batch(provider: QPUProvider, batch: BatchDocument, picture: Path | None, out: Console) -> None:
    document = provider.backend(DEVICE).document
    labels = {f"{one.tenant} {number}": one.region for number, one in enumerate(batch.placements, 1)}
    out.rule("[bold]what the operator sees")
    out.print(
        f"batch of {len(batch.placements)} jobs at device time {batch.device_start_us / 1e6:.2f} s, "
        f"{batch.device_us / 1e6:.2f} s long, regions disjoint:",
        highlight=False,
    )
    out.print(device_text(document, labels))
    if picture is not None:
        draw_device(document, labels, picture)
        out.print(f"picture: {picture}", highlight=False)


def _run_alone(device: Any, ran: list[Ran]) -> dict[str, Ran]:
    """Every job once more, on the qubits it had, with the same seed, on an otherwise empty chip."""
    again: dict[str, Ran] = {}
    for one in ran:
        region = one.job.metering().placement
        pinned = transpile(one.isa, device, initial_layout=region, optimization_level=0, seed_transpiler=SEED)
        job = device.run(pinned, shots=SHOTS, seed_simulator=SEED, isolation="exclusive")
        again[one.job.job_id()] = Ran(one.tenant, one.algorithm, pinned, job)
    return again


def _tell_results(tenant: str, ran: list[Ran], alone: dict[str, Ran], out: Console) -> None:
    """What a tenant may see: its counts, its qubits, its bill, what its neighbours cost it; nothing of them."""
    out.rule(f"[bold]what {tenant} sees")
    counts = _table("algorithm", "outcome", "measured", "ideal")
    bill = _table("algorithm", "qubits", "F", "alone", "near", "loss", "credits")
    for one in ran:
        measured, ideal = counts_of(one.job), one.algorithm.ideal()
        for rank, outcome in enumerate(sorted(ideal, key=lambda key: -ideal[key])[:_OUTCOMES]):
            name = "" if rank else one.algorithm.name
            counts.add_row(name, outcome, str(measured.get(outcome, 0)), f"{ideal[outcome] * SHOTS:.0f}")
        record = one.job.metering()
        bill.add_row(
            one.algorithm.name,
            " ".join(map(str, record.placement or [])),
            f"{one.fidelity():.3f}",
            f"{alone[one.job.job_id()].fidelity():.3f}",
            str(record.co_tenants),
            f"{100 * (record.crosstalk_loss or 0.0):.1f} %",
            f"{record.price_micro / 1e6:.3f}",
        )
    for table in (counts, bill):
        out.print(table)
        out.print()


def _tell_refusal(provider: QPUProvider, algorithm: Algorithm, out: Console) -> None:
    backend = provider.backend(f"{DEVICE}:line-{algorithm.circuit.num_qubits}")
    out.rule("[bold]one job too many")
    try:
        backend.run(transpile(algorithm.circuit, backend, seed_transpiler=SEED), shots=SHOTS)
    except QuotaExceededError as refusal:
        out.print(f"bob's next job is refused: {refusal.message}", highlight=False)
    else:
        out.print("[red]bob's next job was admitted: his quota did not hold")


def _tell_usage(providers: dict[str, QPUProvider], out: Console) -> None:
    table = _table("tenant", "jobs", "shots", "device s", "credits", "quota left")
    for tenant, provider in providers.items():
        usage = provider.usage()
        left = ", ".join(f"{quota.free} {quota.resource} this {quota.window}" for quota in usage.quotas) or "no limit"
        seconds, credits_ = usage.device_us / 1e6, usage.price_micro / 1e6
        table.add_row(tenant, str(usage.jobs), str(usage.shots), f"{seconds:.2f}", f"{credits_:.3f}", left)
    out.rule("[bold]the books")
    out.print(table)
    out.print()


def _table(first: str, *others: str) -> Table:
    """Narrow enough for 80 columns; what names a row is never cut."""
    return Table(Column(first, no_wrap=True), *others, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
