# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (Qiskit ships no types: what comes from it is unknown to the checker.)
"""What ``qpu doctor`` looks at, one check after the other: what was found, and what to do about it."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import stat
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import qpu_sdk
from qpu_sdk.credentials import find_credentials, profile_path
from qpu_sdk.errors import QPUError
from qpu_sdk.patience import Patience
from qpu_sdk.provider import QPUProvider
from qpu_sdk.wire.models import BackendKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qpu_sdk.credentials import Credentials
    from qpu_sdk.wire.principals import Me

_TRIES: Final = 3
_SLOW_S: Final = 1.0
_SKEW_S: Final = 30.0
_CERTIFICATE_DAYS: Final = 14
_PATIENCE: Final = Patience(connect_s=5.0, read_s=20.0, attempts=2)


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check.

    Attributes:
        name: what was looked at.
        verdict: how it is.
        found: what was found.
        advice: what to do, where something is to be done.
    """

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """An answer of the service to somebody without a key.

    Attributes:
        latency_s: the shortest of several.
        skew_s: how far this machine's clock is ahead of the service's; ``None`` where it does not say.
        certificate_days: for which the service's certificate is still good; ``None`` without TLS.
    """

    latency_s: float
    skew_s: float | None
    certificate_days: float | None


def examine(profile: str) -> Iterator[Finding]:
    """Every check in turn; what depends on one that failed is left out."""
    yield _versions()
    try:
        credentials = find_credentials(profile=profile)
    except QPUError as error:
        yield Finding("profile", Verdict.FAILED, error.message, "run qpu login, or set QPU_URL and QPU_TOKEN")
        return
    yield _profile()
    try:
        probe = probe_service(credentials.url)
    except (OSError, http.client.HTTPException, ValueError) as error:
        yield _unreachable(credentials, error)
        return
    yield _address(credentials, probe)
    yield _latency(probe)
    yield _clock(probe)
    try:
        with QPUProvider(profile=profile, patience=_PATIENCE, journal=False) as provider:
            yield _qpy(provider)
            me = provider.me()
            yield _key(me)
            yield _quotas(me)
            yield _round_trip(provider, me)
    except QPUError as error:
        yield Finding("key", Verdict.FAILED, f"{error.code}: {error.message}", _advice_of(error))


def probe_service(url: str) -> Probe:
    """Ask the service for its health, without a key.

    Raises:
        OSError: it cannot be reached, or its certificate is not accepted.
        http.client.HTTPException: what answers is no HTTP server.
    """
    latencies: list[float] = []
    skew_s: float | None = None
    days: float | None = None
    for _ in range(_TRIES):
        connection = _connection(url)
        try:
            connection.connect()
            if isinstance(connection.sock, ssl.SSLSocket):
                days = _days_left(connection.sock)
            begun = time.monotonic()
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            answer.read()
            latencies.append(time.monotonic() - begun)
            date = answer.headers.get("Date")
            if date is not None:
                skew_s = (datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()
        finally:
            connection.close()
    return Probe(min(latencies), skew_s, days)


class _LocalConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=5.0)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection(url: str) -> Any:
    if url.startswith("unix:"):
        return _LocalConnection(url.removeprefix("unix:"))
    parts = urlsplit(url)
    if parts.scheme == "https":
        return http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=5.0, context=ssl.create_default_context()
        )
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5.0)


def _days_left(connection: ssl.SSLSocket) -> float | None:
    certificate = connection.getpeercert()
    until = None if certificate is None else certificate.get("notAfter")
    return None if not isinstance(until, str) else (ssl.cert_time_to_seconds(until) - time.time()) / 86_400


def _versions() -> Finding:
    installed = version("qiskit")
    major, minor = (int(part) for part in installed.split(".")[:2])
    python = ".".join(map(str, sys.version_info[:3]))
    found = f"qpu-sdk {qpu_sdk.__version__}, qiskit {installed}, numpy {version('numpy')}, Python {python}"
    if major == 2 and minor >= 3:
        return Finding("versions", Verdict.OK, found)
    return Finding("versions", Verdict.FAILED, found, 'install a qiskit that fits: pip install "qiskit>=2.3,<3"')


def _profile() -> Finding:
    if os.environ.get("QPU_URL") and os.environ.get("QPU_TOKEN"):
        return Finding("profile", Verdict.OK, "address and token are from QPU_URL and QPU_TOKEN")
    path = profile_path()
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return Finding("profile", Verdict.OK, "address and token are from the environment")
    if mode & 0o077:
        return Finding(
            "profile", Verdict.FAILED, f"{path} has mode {mode:04o}: others can read it", f"chmod 600 {path}"
        )
    return Finding("profile", Verdict.OK, f"{path}, which only you can read")


def _unreachable(credentials: Credentials, error: Exception) -> Finding:
    if isinstance(error, ssl.SSLCertVerificationError):
        advice = "the certificate is not accepted: check the address, this machine's clock and its certificates"
    elif isinstance(error, ssl.SSLError):
        advice = "what answers there speaks no TLS: is the port right, and is it https?"
    else:
        advice = "check the address (qpu login), the network, and whether the service runs"
    return Finding("address", Verdict.FAILED, f"{credentials.url} does not answer: {error}", advice)


def _address(credentials: Credentials, probe: Probe) -> Finding:
    if probe.certificate_days is None:
        kind = "a socket of this machine" if credentials.url.startswith("unix:") else "loopback"
        return Finding("address", Verdict.OK, f"{credentials.url}: {kind}, which needs no TLS")
    found = f"{credentials.url}: TLS, certificate good for {probe.certificate_days:.0f} days"
    if probe.certificate_days < _CERTIFICATE_DAYS:
        return Finding("address", Verdict.WARNING, found, "tell the operator that the certificate runs out")
    return Finding("address", Verdict.OK, found)


def _latency(probe: Probe) -> Finding:
    found = f"{1e3 * probe.latency_s:.1f} ms for an answer, the best of {_TRIES}"
    if probe.latency_s > _SLOW_S:
        return Finding("latency", Verdict.WARNING, found, "the network is slow: submit circuits together in one job")
    return Finding("latency", Verdict.OK, found)


def _clock(probe: Probe) -> Finding:
    if probe.skew_s is None:
        return Finding("clock", Verdict.OK, "the service does not tell the time")
    ahead = "ahead of" if probe.skew_s > 0 else "behind"
    found = f"this machine is within {abs(probe.skew_s) + 1:.0f} s of the service"
    if abs(probe.skew_s) > _SKEW_S:
        found = f"this machine is {abs(probe.skew_s):.0f} s {ahead} the service"
        return Finding("clock", Verdict.FAILED, found, "set the clock (NTP): tokens and quotes expire by it")
    return Finding("clock", Verdict.OK, found)


def _qpy(provider: QPUProvider) -> Finding:
    from qiskit import qpy  # noqa: PLC0415 - heavy

    theirs, ours = provider.version(), int(qpy.QPY_VERSION)
    used = min(ours, theirs.max_qpy_version)
    found = (
        f"service {theirs.version} reads {theirs.min_qpy_version} to {theirs.max_qpy_version}, "
        f"qiskit here writes up to {ours}: {used} is used"
    )
    if used < max(theirs.min_qpy_version, int(qpy.QPY_COMPATIBILITY_VERSION)):
        return Finding("qpy", Verdict.FAILED, found, "upgrade qiskit here, or ask the operator to upgrade the service")
    return Finding("qpy", Verdict.OK, found)


def _key(me: Me) -> Finding:
    found = f"{me.principal} of {me.tenant}, role {me.role}: {', '.join(me.permissions)}"
    if "submit_jobs" not in me.permissions:
        return Finding("key", Verdict.WARNING, found, "this key runs nothing: ask an administrator for a member's key")
    return Finding("key", Verdict.OK, found)


def _quotas(me: Me) -> Finding:
    if not me.quotas:
        return Finding("quotas", Verdict.OK, "no limit")
    found = ", ".join(f"{quota.free} of {quota.limit} {quota.resource} left this {quota.window}" for quota in me.quotas)
    used_up = [quota for quota in me.quotas if quota.free <= 0]
    if used_up:
        until = max(quota.window_end for quota in used_up)
        return Finding("quotas", Verdict.WARNING, found, f"used up until {until:%Y-%m-%d %H:%M} UTC: ask for more")
    return Finding("quotas", Verdict.OK, found)


def _round_trip(provider: QPUProvider, me: Me) -> Finding:
    """A small circuit, compiled, sent and quoted: everything but running it."""
    from qiskit import QuantumCircuit, transpile  # noqa: PLC0415 - heavy

    summaries = [one for one in provider.summaries() if one.operational]
    if not summaries:
        return Finding("round trip", Verdict.WARNING, "no backend is operational", "try later: qpu backends tells")
    if "submit_jobs" not in me.permissions:
        return Finding("round trip", Verdict.OK, f"{len(summaries)} backends read; nothing sent, by the key's role")
    best = min(summaries, key=lambda one: (one.kind is not BackendKind.VIRTUAL, one.num_qubits))
    backend = provider.backend(best.name)
    circuit: Any = QuantumCircuit(2, 2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    begun = time.monotonic()
    quote = backend.quote(transpile(circuit, backend, seed_transpiler=1), shots=100)
    found = (
        f"a circuit was compiled for {best.name}, sent and quoted in {time.monotonic() - begun:.2f} s: "
        f"{quote.price:.6f} credits; nothing ran"
    )
    return Finding("round trip", Verdict.OK, found)


def _advice_of(error: QPUError) -> str:
    known = {
        "unauthenticated": "the key is wrong, expired or revoked: run qpu login with another",
        "forbidden": "ask an administrator of your tenant for another role",
        "protocol": "the two sides speak different versions: upgrade qpu-sdk, or ask the operator",
    }
    return known.get(error.code, f"tell the operator the request: {error.request_id or 'it has no id'}")
