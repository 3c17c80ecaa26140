"""The children that decode: what they may use, how they die, and that only the request that killed them notices."""

from __future__ import annotations

import io
import os
import signal
import struct
import subprocess
import sys
import textwrap
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import Parameter

from qpu_backend.engines.decoded import DecodingLimits, DecodingRequest, PubBinding, read_answer
from qpu_backend.engines.decoding_pool import DecodingPool
from qpu_backend.engines.invalid_circuit import DecodingFailed, DecodingUnavailable, InvalidCircuit, TooMuchDeclared
from qpu_sdk.wire.codec import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qpu_backend.engines.nursery import Child

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes through /proc")
GENEROUS = DecodingLimits(max_qubits=10**9, max_operations=10**14)
"""Limits that let a hog pass the checks, so that it meets the child's walls."""


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodingPool]:
    with DecodingPool(2) as pool:
        yield pool


def written(circuit: QuantumCircuit) -> bytes:
    document = io.BytesIO()
    qpy.dump(circuit, document, version=15)
    return document.getvalue()


def bell() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 2)
    circuit.sx(0)
    circuit.ecr(0, 1)
    circuit.barrier()
    circuit.measure([0, 1], [0, 1])
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    circuit.rz(0.5, 0)
    return circuit


BELL = DecodingRequest("qpy+zlib", zlib.compress(written(bell())), (PubBinding(0),))


def memory_hog() -> DecodingRequest:
    """A few hundred bytes that declare ten million qubits."""
    data = bytearray(written(QuantumCircuit(1)))
    struct.pack_into("!I", data, 20 + 5, 10**7)
    return DecodingRequest("qpy+zlib", zlib.compress(bytes(data)), (PubBinding(0),))


def processor_hog() -> DecodingRequest:
    """A loop of a million million turns around nothing."""
    circuit = QuantumCircuit(1)
    circuit.for_loop(range(10**12), None, QuantumCircuit(1), [0], [])
    return DecodingRequest("qpy+zlib", zlib.compress(written(circuit)), (PubBinding(0),))


def children(pool: DecodingPool) -> list[Child]:
    """The idle children; they stay where they are."""
    pool.warm_up()
    return [child for child in pool._idle.queue if child is not None]


def gone(pid: int) -> bool:
    """Whether the process has ended; a zombie has."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    return True


def wait_until_gone(*pids: int) -> None:
    until = time.monotonic() + 30
    while not all(gone(pid) for pid in pids):
        assert time.monotonic() < until, "processes stay behind"
        time.sleep(0.01)


def test_a_child_has_no_environment_no_files_and_limits():
    os.environ["QPU_TEST_SECRET"] = "pepper"  # noqa: S105 - that is the point
    try:
        with DecodingPool(1) as pool:
            pool.decode(BELL)  # then it has surely taken its limits
            (child,) = children(pool)
            folder = Path(f"/proc/{child.pid}")
            environment = (folder / "environ").read_bytes()
            descriptors = {int(entry.name): str(entry.readlink()) for entry in (folder / "fd").iterdir()}
            limits = (folder / "limits").read_text()
    finally:
        del os.environ["QPU_TEST_SECRET"]
    assert b"pepper" not in environment
    assert b"PATH" not in environment
    assert [descriptors[n] for n in (0, 1, 2)] == ["/dev/null"] * 3
    assert set(descriptors) == {0, 1, 2, 3}
    assert descriptors[3].startswith("socket:")
    soft = {line[:25].strip(): line[25:].split()[0] for line in limits.splitlines()[1:]}
    assert soft["Max open files"] == "4"
    assert soft["Max file size"] == "0"
    assert int(soft["Max address space"]) < 4 << 30


def test_a_memory_hog_is_refused_and_nobody_else_notices():
    with DecodingPool(1, GENEROUS) as pool:
        with pytest.raises(DecodingFailed):
            pool.decode(memory_hog())
        assert pool.decode(BELL).widths == (2,)


def test_the_same_hog_is_refused_by_its_header_under_published_limits(pool: DecodingPool):
    with pytest.raises(TooMuchDeclared, match="10000000 qubits"):
        pool.decode(memory_hog())


def test_a_processor_hog_is_killed_and_nobody_else_notices():
    limits = DecodingLimits(max_operations=10**14, wall_s=0.5)
    with DecodingPool(1, limits) as pool:
        (child,) = children(pool)
        with pytest.raises(DecodingFailed, match=r"0\.5 s"):
            pool.decode(processor_hog())
        assert gone(child.pid)
        assert pool.decode(BELL).widths == (2,)


def test_a_child_killed_while_idle_is_replaced_without_a_refusal(pool: DecodingPool):
    for child in children(pool):
        os.kill(child.pid, signal.SIGKILL)
        wait_until_gone(child.pid)
    assert pool.decode(BELL).widths == (2,)
    assert pool.decode(BELL).widths == (2,)


def test_a_child_killed_at_work_refuses_its_request_only():
    with DecodingPool(1, DecodingLimits(max_operations=10**14, wall_s=20.0)) as pool:
        (child,) = children(pool)
        with ThreadPoolExecutor(1) as threads:
            request = threads.submit(pool.decode, processor_hog())
            while pool._idle.qsize():
                time.sleep(0.001)
            os.kill(child.pid, signal.SIGKILL)
            with pytest.raises(DecodingFailed):
                request.result()
        assert pool.decode(BELL).widths == (2,)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_a_dead_zygote_is_replaced(sign: signal.Signals):
    with DecodingPool(2) as pool:
        before = children(pool)
        zygote = pool._nursery._process.pid
        os.kill(zygote, sign)
        wait_until_gone(zygote)
        assert pool.decode(BELL).widths == (2,)
        for child in before:
            os.kill(child.pid, signal.SIGKILL)
        wait_until_gone(*(child.pid for child in before))
        assert pool.decode(BELL).widths == (2,)
        assert pool._nursery._process.pid != zygote


def test_a_child_serves_only_so_many_requests():
    with DecodingPool(1, DecodingLimits(requests_per_child=2)) as pool:
        (first,) = children(pool)
        pool.decode(BELL)
        assert children(pool)[0] is first
        pool.decode(BELL)
        assert children(pool)[0].pid != first.pid
        assert gone(first.pid)


def test_many_threads_decode_at_once(pool: DecodingPool):
    angle = Parameter("a")

    def decode(number: int) -> tuple[int, float]:
        circuit = QuantumCircuit(number % 7 + 1)
        circuit.rz(angle * number, 0)
        data = zlib.compress(written(circuit.assign_parameters({angle: 1.0})))
        decoded = pool.decode(DecodingRequest("qpy+zlib", data, (PubBinding(0),)))
        return decoded.widths[0], float(decoded.circuits[0].operations["value"][0])

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(decode, range(1, 65)))
    assert answers == [(number % 7 + 1, float(number)) for number in range(1, 65)]


@pytest.mark.usefixtures("own_zygotes")
def test_close_ends_every_process_and_later_requests_are_told():
    pool = DecodingPool(2)
    pids = [*(child.pid for child in children(pool)), pool._nursery._process.pid]
    pool.close()
    wait_until_gone(*pids)
    with pytest.raises(DecodingUnavailable):
        pool.decode(BELL)


_SCRIPT = """
    import sys, time, threading, zlib
    from qpu_backend.engines.decoded import DecodingLimits, DecodingRequest, PubBinding
    from qpu_backend.engines.decoding_pool import DecodingPool

    pool = DecodingPool(2, DecodingLimits(max_operations=10**14, wall_s=600.0))
    pool.warm_up()
    print(pool._nursery._process.pid, *(child.pid for child in pool._idle.queue), flush=True)
    bell, hog = (
        DecodingRequest("qpy+zlib", bytes.fromhex(line), (PubBinding(0),)) for line in sys.stdin.read().split()
    )
    print(pool.decode(bell).widths, "qiskit" in sys.modules, flush=True)
    if "--hang" in sys.argv:
        threading.Thread(target=pool.decode, args=(hog,)).start()
        time.sleep(0.2)
        print("hanging", flush=True)
        time.sleep(60)
"""
"""No main guard: multiprocessing's own spawn would run it again and again."""


def script(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    file = tmp_path / "script.py"
    file.write_text(textwrap.dedent(_SCRIPT))
    process = subprocess.Popen(
        [sys.executable, str(file), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert process.stdin is not None
    process.stdin.write(f"{BELL.data.hex()} {processor_hog().data.hex()}")
    process.stdin.close()
    return process


def test_it_works_from_a_script_without_a_main_guard_and_without_qiskit_in_the_server(tmp_path: Path):
    process = script(tmp_path)
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    assert process.wait() == 0
    assert lines[1:] == ["(2,) False"]
    wait_until_gone(*map(int, lines[0].split()))


def test_kill_9_of_the_server_ends_zygote_and_children_even_busy_ones(tmp_path: Path):
    process = script(tmp_path, "--hang")
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert process.stdout.readline().startswith("(2,)")
    assert process.stdout.readline() == "hanging\n"
    process.kill()
    process.wait()
    process.stdout.close()
    assert len(pids) == 3
    wait_until_gone(*pids)


# --- mutations --------------------------------------------------------------------------------------------------------

WHOLE = written(bell())


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 12),
)
def test_a_mutated_document_is_refused_or_is_a_sound_circuit(
    pool: DecodingPool, edits: list[tuple[int, int]], cut: int
):
    data = bytearray(WHOLE)
    for place, value in edits:
        data[place] = value
    damaged = bytes(data[: len(data) - cut])
    with suppress(InvalidCircuit):  # anything else fails the test
        answer = pool.decode(DecodingRequest("qpy+zlib", zlib.compress(damaged), (PubBinding(0),)))
        assert answer.circuits[0].num_clbits >= 0
    assert pool.decode(BELL).widths == (2,)


# --- a child that lies ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def honest(pool: DecodingPool) -> dict[str, object]:
    answer = pool.decode(BELL)
    return {
        "circuits": [circuit.to_document() for circuit in answer.circuits],
        "widths": list(answer.widths),
        "angles": list(answer.angles),
    }


def test_an_honest_answer_is_taken(honest: dict[str, object]):
    assert read_answer(pack(honest), BELL, DecodingLimits()).circuits[0].qubits == (0, 1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("code", 200),
        ("code", 13),
        ("q0", 2),
        ("q0", -2),
        ("q1", 0),
        ("clbit", 2),
        ("slot", 0),
        ("slot", -2),
        ("aux", 7),
        ("value", float("nan")),
    ],
)
def test_operations_out_of_range_are_not_believed(honest: dict[str, object], field: str, value: float):
    for row in range(7):
        document = unpack(pack(honest))
        forged = document["circuits"][0]["operations"].copy()
        if forged[field][row] == value:
            continue
        forged[field][row] = value
        document["circuits"][0]["operations"] = forged
        with pytest.raises(DecodingFailed):
            read_answer(pack(document), BELL, DecodingLimits())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("qubits", [1, 0]),
        ("qubits", [0, 5]),
        ("qubits", [-1, 0]),
        ("qubits", ["0", "1"]),
        ("num_clbits", 10**9),
        ("num_clbits", 1),
        ("num_slots", -1),
        ("registers", [["c", [0, 2]]]),
        ("registers", [[7, [0, 1]]]),
        ("groups", [[0, 0]]),
        ("groups", []),
        ("conditionals", []),
        ("isa_version", 2),
    ],
)
def test_circuits_out_of_range_are_not_believed(honest: dict[str, object], key: str, value: object):
    document = unpack(pack(honest))
    document["circuits"][0][key] = value
    with pytest.raises(DecodingFailed):
        read_answer(pack(document), BELL, DecodingLimits())


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1",
        pack([]),
        pack({}),
        pack({"refused": ["NoSuchClass", "", "", None]}),
        pack({"refused": ["str", "", "", None]}),
        pack({"circuits": [], "widths": [], "angles": []}),
    ],
)
def test_nonsense_is_not_believed(frame: bytes):
    with pytest.raises(DecodingFailed):
        read_answer(frame, BELL, DecodingLimits())


def test_a_conditional_that_refers_to_itself_is_not_believed(honest: dict[str, object]):
    document = unpack(pack(honest))
    conditional = document["circuits"][0]["conditionals"][0]
    body = conditional[2].copy()
    body["code"], body["q0"], body["aux"] = 12, -1, 0
    conditional[2] = body
    with pytest.raises(DecodingFailed):
        read_answer(pack(document), BELL, DecodingLimits())
