# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (Qiskit ships no types: what comes from it is unknown to the checker.)
"""``qpu run FILE.qasm`` and ``qpu quote FILE.qasm``: an OpenQASM program, compiled, priced, and run."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qpu_sdk.cli.jobs import counts_of, print_counts
from qpu_sdk.cli.output import AsJson, Backend, Profile, credits_of, out, write_json, write_table
from qpu_sdk.cli.root import app
from qpu_sdk.display.cards import duration
from qpu_sdk.errors import InvalidCircuitError, InvalidRequestError
from qpu_sdk.provider import QPUProvider

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

    from qpu_sdk.backend import QPUBackend
    from qpu_sdk.quotes import Quote

_OPENQASM_3 = re.compile(r"^\s*OPENQASM\s+3", re.MULTILINE)

File = Annotated[Path, typer.Argument(help="A program in OpenQASM 2 or 3.", exists=True, dir_okay=False)]
Shots = Annotated[int, typer.Option(min=1, help="Of the program.")]
Level = Annotated[int, typer.Option("--optimization-level", min=0, max=3, help="Of the compilation.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Of the compilation and of the execution.")]
Lane = Annotated[str, typer.Option(help="Class of service.")]


@app.command()
def run(
    file: File,
    backend: Backend = None,
    shots: Shots = 4000,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the counts.")] = False,
    estimate: Annotated[bool, typer.Option("--estimate", help="Only say what it would cost and do.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask back.")] = False,
    max_cost: Annotated[float | None, typer.Option(min=0, help="In credits: do not run it for more.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="To find the job by; may be repeated.")] = None,
    level: Level = 1,
    seed: Seed = None,
    lane: Lane = "standard",
    profile: Profile = "default",
    as_json: AsJson = False,
) -> None:
    """Run a program: compile it for the backend, say what it costs, submit it.

    Without --backend it goes to the least busy one that it fits on. On a terminal it asks back before it submits.
    """
    with QPUProvider(profile=profile) as provider:
        circuit = read_program(file)
        chosen = _backend(provider, backend, circuit)
        isa = compiled(circuit, chosen, level, seed)
        options: dict[str, Any] = {"shots": shots, "lane": lane, "seed_simulator": seed, "job_tags": tag or None}
        quote = chosen.quote(isa, **options)
        _require_affordable(quote, max_cost)
        told: dict[str, Any] = {"quote": _quote_facts(chosen, isa, quote), "job": None}
        if not as_json:
            _print_quote(chosen, isa, quote)
        if estimate:
            _tell_prediction(chosen.predict_success(isa)[0].success, told, as_json=as_json)
            return
        if not as_json and not yes and sys.stdin.isatty():
            typer.confirm("run it?", abort=True)
        job = chosen.run(isa, quote=quote, **options)
        if not as_json:
            out.print(f"submitted: {job.job_id()}", soft_wrap=True)
        if wait:
            job.wait(progress=not as_json)
            job.result()  # tells why, if it failed
        if as_json:
            write_json(told | {"job": job.document()} | ({"counts": counts_of(job)} if wait else {}))
        elif wait:
            print_counts(job)
        else:
            out.print(f"its counts, when it is done: qpu job {job.job_id()} --counts", soft_wrap=True)


@app.command()
def quote(
    file: File,
    backend: Backend = None,
    shots: Shots = 4000,
    level: Level = 1,
    seed: Seed = None,
    lane: Lane = "standard",
    profile: Profile = "default",
    as_json: AsJson = False,
) -> None:
    """Say what a program would cost, and when it would start. Nothing is submitted."""
    with QPUProvider(profile=profile) as provider:
        circuit = read_program(file)
        chosen = _backend(provider, backend, circuit)
        isa = compiled(circuit, chosen, level, seed)
        found = chosen.quote(isa, shots=shots, lane=lane, seed_simulator=seed)
        if as_json:
            write_json({"quote": _quote_facts(chosen, isa, found)})
        else:
            _print_quote(chosen, isa, found)


def read_program(file: Path) -> QuantumCircuit:
    """The circuit of an OpenQASM file; the version is read from its head, 2 where it has none.

    Raises:
        InvalidCircuitError: it is not OpenQASM, or has no qubit.
    """
    from qiskit import qasm2, qasm3  # noqa: PLC0415 - only these commands need them

    try:
        text = file.read_text(encoding="utf-8")
        version = 3 if _OPENQASM_3.search(text) else 2
        if version == 3:
            circuit: Any = qasm3.loads(text)
        else:
            how: Any = {"custom_instructions": qasm2.LEGACY_CUSTOM_INSTRUCTIONS, "include_path": (".", file.parent)}
            circuit = qasm2.loads(text, **how)
    except UnicodeDecodeError as error:
        raise InvalidCircuitError(f"{file} is not text", field="file") from error
    except ImportError as error:
        raise InvalidCircuitError(
            f"{file} is OpenQASM 3, which needs one more package: pip install qiskit-qasm3-import", field="file"
        ) from error
    except Exception as error:  # the two parsers have trees of errors of their own
        reason = str(error).strip('"').strip() or type(error).__name__
        raise InvalidCircuitError(f"{file} is not OpenQASM that can be read: {reason}", field="file") from error
    if not circuit.num_qubits:
        raise InvalidCircuitError(f"{file} declares no qubit", field="file")
    return circuit


def compiled(circuit: QuantumCircuit, backend: QPUBackend, level: int, seed: int | None) -> QuantumCircuit:
    """The circuit in the backend's instructions.

    Raises:
        InvalidCircuitError: it does not fit there.
    """
    from qiskit import generate_preset_pass_manager  # noqa: PLC0415 - only these commands need it
    from qiskit.exceptions import QiskitError  # noqa: PLC0415

    usable = sum(seen is not None for seen in backend.document.qubits)
    if circuit.num_qubits > usable:
        raise InvalidCircuitError(
            f"the program has {circuit.num_qubits} qubits and {backend.name} has {usable}: choose a larger backend",
            field="file",
        )
    try:
        compiler: Any = generate_preset_pass_manager(level, backend=backend, seed_transpiler=seed)
        return compiler.run(circuit)
    except QiskitError as error:
        raise InvalidCircuitError(f"cannot be compiled for {backend.name}: {error.message}", field="file") from error


def _require_affordable(quote: Quote, max_cost: float | None) -> None:
    if max_cost is not None and quote.price > max_cost:
        raise InvalidRequestError(
            f"it costs {credits_of(quote.price_micro)} credits, more than the {max_cost:g} that you allow; nothing was "
            "submitted",
            field="max_cost",
        )


def _tell_prediction(success: float, told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        write_json(told | {"predicted_success": success})
    else:
        out.print(f"predicted probability that a shot comes out right: {success:.3f}; nothing was submitted")


def _backend(provider: QPUProvider, name: str | None, circuit: QuantumCircuit) -> QPUBackend:
    return provider.least_busy(circuit.num_qubits) if name is None else provider.backend(name)


def _quote_facts(backend: QPUBackend, isa: QuantumCircuit, quote: Quote) -> dict[str, Any]:
    return {
        "backend": backend.name,
        "calibration_id": backend.calibration_id,
        "price_micro": quote.price_micro,
        "device_s": quote.device_s,
        "shots": quote.shots,
        "start_in_s": quote.start_in_s,
        "expires_at": quote.expires_at.isoformat(),
        "ids": list(quote.ids),
        "tokens": list(quote.tokens),
        "depth": isa.depth(),
        "two_qubit_gates": _two_qubit_gates(isa),
    }


def _print_quote(backend: QPUBackend, isa: QuantumCircuit, quote: Quote) -> None:
    start = quote.start_in_s
    write_table(
        ("quote", backend.document.name),
        [
            ("price", f"{credits_of(quote.price_micro)} credits"),
            ("device time", f"{quote.device_s:.3f} s for {quote.shots} shots"),
            ("may start", "not known" if start is None else "at once" if start < 1 else f"in about {duration(start)}"),
            ("compiled", f"depth {isa.depth()}, {_two_qubit_gates(isa)} two-qubit gates"),
        ],
    )


def _two_qubit_gates(isa: QuantumCircuit) -> int:
    return isa.num_nonlocal_gates()
