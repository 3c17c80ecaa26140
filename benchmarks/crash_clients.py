"""Clients of a service that is killed under them: each repeats what it asks, under its key, until it is answered."""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import httpx
import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

from qpu_sdk.wire.circuits import encode_bindings, encode_circuits
from qpu_sdk.wire.models import QPY_VERSION_READ, CircuitPayload, JobOptions, JobRequest, ProgramKind, Pub

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LINE: Final = "eagle127:line-5"
CHIP: Final = "eagle127"
PATIENCE_S: Final = 300.0
_AGAIN: Final = {429, 500, 502, 503, 504}
"""What a service says that is ending, overloaded, or without its database."""
_HASTE_S: Final = 0.03


class Wrong(Exception):
    """A client was told what it must never be told."""


@dataclass(slots=True)
class Asked:
    """A job as its client knows it.

    Attributes:
        body: of the request, the same bytes each time.
        answers: the id in every answer to this key.
        cancelled: whether the client asked for that.
    """

    key: str
    body: str
    answers: list[str] = field(default_factory=list)
    cancelled: bool = False

    @property
    def job_id(self) -> str:
        """Of the first answer."""
        return self.answers[0]


class Client(threading.Thread):
    """A principal that works until it is told to stop.

    Attributes:
        asked: every job that was accepted, in order.
        failure: what ended it early.
        accepted_us: of every request that created something, when it was sent and when it was answered, wall time.
    """

    def __init__(self, urls: Sequence[str], name: str, key: str, *, seed: int, may_submit: Callable[[], bool]) -> None:
        super().__init__(name=name, daemon=True)
        self.asked: list[Asked] = []
        self.failure: BaseException | None = None
        self.accepted_us: list[tuple[int, int]] = []
        self._urls = tuple(urls)
        self._draw = random.Random(seed)  # noqa: S311 - not a secret
        self._seed = seed
        self._number = 0
        self._may_submit = may_submit
        self._stop_asked = threading.Event()
        self._http = httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=10)

    def stop(self) -> None:
        """Submit nothing more; what has been begun is brought to its answer."""
        self._stop_asked.set()

    def run(self) -> None:
        try:
            while not self._stop_asked.is_set():
                if self._may_submit():
                    self._work()
                self._stop_asked.wait(self._draw.uniform(0.05, 0.6))
        except BaseException as error:  # noqa: BLE001 - who waits for the thread looks at it
            self.failure = error

    # --- what it does ----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        kind = self._draw.random()
        if kind < 0.15:
            self._session(closes=kind < 0.08)
        elif kind < 0.22:
            self._submit(self._order(LINE, bindings=3, shots=self._draw.choice((4000, 6000))))  # several legs
        elif kind < 0.32:
            self._cancel(self._submit(self._order(LINE, bindings=self._draw.randrange(20, 200))))
        elif kind < 0.37:
            self._cancel(self._submit(self._order(LINE, bindings=3, shots=8000)), after_s=self._draw.uniform(0.0, 1.5))
        else:
            backend = self._draw.choice((LINE, LINE, CHIP))
            asked = self._submit(self._order(backend, bindings=self._draw.randrange(5, 250)))
            if kind > 0.7:
                self.repeat(asked)

    def _session(self, *, closes: bool) -> None:
        """One that it closes, or one that it leaves to its end."""
        body: dict[str, Any] = {"backend": LINE} if closes else {"backend": LINE, "ttl_s": 0.5}
        answer = self._ask("POST", "/v1/sessions", {201}, json=body, headers=self._key())
        session = str(answer.json()["id"])
        for _ in range(2 if closes else 1):
            self._submit(self._order(LINE, bindings=10, session=session), or_refused="session_closed")
        if closes:
            self._ask("POST", f"/v1/sessions/{session}/touch", {200})
            self._ask("DELETE", f"/v1/sessions/{session}", {200})

    def _submit(self, order: JobRequest, or_refused: str | None = None) -> Asked:
        asked = Asked(self._key()["Idempotency-Key"], order.model_dump_json())
        if self._draw.random() < 0.1:  # it does not wait for the answer, and asks again
            with suppress(httpx.TransportError):
                headers = {"Idempotency-Key": asked.key}
                self._send("POST", "/v1/jobs", content=asked.body, headers=headers, within_s=_HASTE_S)
        if self.repeat(asked, or_refused):
            self.asked.append(asked)
        return asked

    def repeat(self, asked: Asked, or_refused: str | None = None) -> bool:
        """Submit under the key (again), until there is an answer. Whether it was not refused."""
        headers = {"Idempotency-Key": asked.key}
        refusals: set[int] = set() if or_refused is None else {409}
        answer = self._ask("POST", "/v1/jobs", {202} | refusals, content=asked.body, headers=headers)
        if or_refused is not None and _is_refusal(answer, or_refused):
            return False
        asked.answers.append(str(answer.json()["id"]))
        return True

    def _cancel(self, asked: Asked, after_s: float = 0.0) -> None:
        self._stop_asked.wait(after_s)
        asked.cancelled = True
        self._ask("POST", f"/v1/jobs/{asked.job_id}/cancel", {200, 409})  # 409: it has ended

    def result(self, asked: Asked) -> tuple[str, bytes]:
        """ETag and bytes of the result."""
        answer = self._ask("GET", f"/v1/jobs/{asked.job_id}/result", {200})
        return answer.headers["ETag"], answer.content

    def metered(self, asked: Asked) -> dict[str, Any]:
        """The job's metering record."""
        return self._ask("GET", f"/v1/jobs/{asked.job_id}/metering", {200}).json()

    # --- how it asks -----------------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, wanted: set[int], **request: Any) -> httpx.Response:
        """Until there is one of these answers; a connection that breaks, or a service in trouble, is asked again."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            sent_us = time.time_ns() // 1000
            try:
                answer = self._send(method, path, **request)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code in wanted:
                if answer.status_code in {201, 202}:
                    self.accepted_us.append((sent_us, time.time_ns() // 1000))
                return answer
            if answer is not None and answer.status_code not in _AGAIN:
                raise Wrong(f"{method} {path}: {answer.status_code} {answer.text}")
            if time.monotonic() > deadline:
                raise Wrong(f"{method} {path}: no answer for {PATIENCE_S} s, at last {answer and answer.text}")
            time.sleep(0.05)

    def _send(self, method: str, path: str, *, within_s: float = 10.0, **request: Any) -> httpx.Response:
        return self._http.request(method, self._draw.choice(self._urls) + path, timeout=within_s, **request)

    def _key(self) -> dict[str, str]:
        self._number += 1
        return {"Idempotency-Key": f"{self.name}-{self._number}"}

    def _order(self, backend: str, *, bindings: int, shots: int = 10, session: str | None = None) -> JobRequest:
        return JobRequest(
            backend=backend,
            program=ProgramKind.SAMPLER,
            circuits=_circuits(backend),
            pubs=[Pub(circuit=0, shots=shots, bindings=encode_bindings(np.linspace(0, 3, bindings).reshape(-1, 1)))],
            options=JobOptions(seed=self._seed * 1_000_000 + self._number, session=session),
        )


def _is_refusal(answer: httpx.Response, code: str) -> bool:
    """Whether it is this refusal; that it is another one is wrong."""
    if answer.is_success:
        return False
    if answer.json()["code"] != code:
        raise Wrong(f"refused: {answer.text}")
    return True


@cache
def _circuits(backend: str) -> CircuitPayload:
    """Five qubits in a row of a virtual QPU, or qubits 0 to 4 of the chip."""
    theta = Parameter("t")
    circuit = QuantumCircuit(5 if backend == LINE else 127, 5)
    circuit.sx(range(5))
    for a in range(4):
        circuit.ecr(*((a, a + 1) if backend == LINE else (a + 1, a)))
        circuit.rz(theta, a)
        circuit.sx(a)
    circuit.measure(range(5), range(5))
    return encode_circuits([circuit], QPY_VERSION_READ)
