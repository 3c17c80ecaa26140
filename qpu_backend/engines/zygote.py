"""The process that decoding children are forked from: Qiskit is warm here, and no client's byte is ever read.

    server ── control socket ──► zygote ── fork ──► child ── its own socket, passed in ──► server

It is started by :mod:`qpu_backend.engines.nursery` as a program of its own (not through ``multiprocessing``, which
would run the main script again), with an empty environment. A fork takes milliseconds, a fresh start a second.

Orders are 9 bytes: ``F`` + 8 (fork; the child's socket travels as ancillary data) and ``K`` + process id (kill and
bury). Each is answered by 8 bytes: the process id. Only the zygote kills, and it buries only when told, so a process
id can never have passed to a stranger. When the control socket closes, for whatever reason, the zygote kills its
children and ends.
"""

# Qiskit ships no types.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false

from __future__ import annotations

import gc
import io
import math
import os
import resource
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from qiskit import QuantumCircuit, qpy
from qiskit.circuit import Parameter

from qpu_backend.engines.compiling import warm_up as warm_up_compiler
from qpu_backend.engines.decoding import MAX_QPY_VERSION, answer
from qpu_backend.engines.frames import receive_exactly, receive_frame, send_frame
from qpu_backend.engines.nursery import COMMAND, FORK, KILL, REPLY
from qpu_sdk.wire.codec import pack, unpack

_CHILD_SOCKET: Final = 3
_MAX_REQUEST_BYTES: Final = 1 << 30
_WARM_PROGRAM: Final = """OPENQASM 3.0;
include "stdgates.inc";
input float[64] a;
qubit[2] q;
bit[2] c;
gate ecr a, b { s a; sx b; cx a, b; x a; }
rz(a) q[0];
ecr q[0], q[1];
c = measure q;
if (c[0]) { x q[1]; }
"""
_GRACE_S: Final = 1.0
"""A child ends itself so long after the server should have killed it: for when there is no server any more."""


def main() -> None:
    """Serve forks until the control socket closes. ``argv``: the socket, wall seconds, bytes, 1 to compile."""
    descriptor, wall_s, memory_bytes, compiling = sys.argv[-4:]
    control = socket.socket(fileno=int(descriptor))
    control.set_inheritable(False)
    _warm_up()
    if compiling == "1":
        warm_up_compiler()
    gc.collect()
    gc.freeze()
    address_space = _virtual_bytes() + int(memory_bytes)
    children: set[int] = set()
    try:
        control.sendall(REPLY.pack(MAX_QPY_VERSION))
        while True:
            message, descriptors, _, _ = socket.recv_fds(control, COMMAND.size, 1)
            if not message:
                return
            if len(message) < COMMAND.size:
                message += receive_exactly(control, COMMAND.size - len(message))
            order, pid = COMMAND.unpack(message)
            if order == FORK and descriptors:
                pid = _fork(descriptors[0], control, float(wall_s), address_space)
                children.add(pid)
            elif order == KILL and pid in children:
                children.discard(pid)
                _bury(pid)
            control.sendall(REPLY.pack(pid))
    except (OSError, EOFError):
        return
    finally:
        for pid in children:
            _bury(pid)


def _fork(descriptor: int, control: socket.socket, wall_s: float, address_space: int) -> int:
    pid = os.fork()
    if pid:
        os.close(descriptor)
        return pid
    try:
        # Descriptors 0 to 2 are the null device, 3 is the socket, and there can be no other one: no file can be opened.
        moved = os.dup(descriptor)
        control.detach()
        os.dup2(moved, _CHILD_SOCKET)
        os.closerange(_CHILD_SOCKET + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        _limit(address_space)
        _serve(socket.socket(fileno=_CHILD_SOCKET), wall_s)
    finally:
        os._exit(1)


def _limit(address_space: int) -> None:
    for limit, value in (
        (resource.RLIMIT_NOFILE, _CHILD_SOCKET + 1),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_AS, address_space),
    ):
        with suppress(OSError, ValueError):  # not every system has every limit
            resource.setrlimit(limit, (value, value))


def _serve(connection: socket.socket, wall_s: float) -> NoReturn:
    while True:
        frame = receive_frame(connection, _MAX_REQUEST_BYTES)
        _start_clocks(wall_s)
        document, fit = answer(unpack(frame))
        reply = pack(document)
        signal.setitimer(signal.ITIMER_REAL, 0)
        send_frame(connection, reply)
        if not fit:
            os._exit(0)


def _start_clocks(wall_s: float) -> None:
    """From here on the kernel ends this process, in native code too, when it takes too long."""
    seconds = math.ceil(time.process_time()) + math.ceil(wall_s)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    signal.setitimer(signal.ITIMER_REAL, wall_s + _GRACE_S)


def _bury(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _virtual_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (
        OSError
    ):  # no such file system: the limit then counts from the resident size, which is smaller and so stricter
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _warm_up() -> None:
    """Decode one circuit with everything in it, so that children neither import nor initialise anything."""
    angle = Parameter("a")
    circuit = QuantumCircuit(2, 2)
    circuit.rz(angle, 0)
    circuit.rz(2 * angle + 1, 1)
    circuit.sx(0)
    circuit.ecr(0, 1)
    circuit.rzz(0.5, 0, 1)
    circuit.delay(100, 0, unit="dt")
    circuit.reset(1)
    circuit.barrier()
    circuit.measure([0, 1], [0, 1])
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    with circuit.for_loop(range(2)):
        circuit.x(0)
    document = io.BytesIO()
    qpy.dump(circuit, document)
    request = {"codec": "qpy+zlib", "qpy": document.getvalue(), "pubs": [], "dt_ns": 1.0}
    limits = {"max_qubits": 10, "max_clbits": 10, "max_operations": 100, "max_angles": 10}
    programs = [_WARM_PROGRAM]
    answer({**request, "limits": limits})
    answer({**request, "codec": "qasm3", "programs": programs, "limits": limits})
    answer({**request, "qpy": b"", "limits": limits})
    answer({**request, "codec": "qasm3", "programs": ["nonsense;"], "limits": limits})
