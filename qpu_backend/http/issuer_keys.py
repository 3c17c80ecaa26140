"""The public keys of an issuer of tokens: fetched when they are needed, remembered, and never fetched in floods.

::

    age of the keys   0 ──────── live_s ──────────────────────── 12 · live_s ─────────▶
    a known key       used       fetched anew first; where the   not used: the issuer
                                 issuer is silent, still used    has to answer
    an unknown one    fetched anew, but not within refetch_s of the last time

One thread fetches at a time, and who waits for it holds none. This module is loaded only where tokens are configured.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
import urllib.request
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from jwt import PyJWK
from jwt.exceptions import PyJWTError
from typing_extensions import override

from qpu_backend.http.addresses import checked_address, is_loopback
from qpu_backend.telemetry.logs import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from http.client import HTTPMessage
    from typing import IO

KeyName = tuple[str, str]
"""Id of a key, and the one algorithm that it is used with."""

_STALE: Final = 12
_ANSWERS_WITHIN_S: Final = 5.0
_WAIT_S: Final = 6.0
_GIVEN_UP_AFTER_S: Final = 30.0
_MAX_BYTES: Final = 256 * 1024
_MAX_KEYS: Final = 100
_CHUNK: Final = 16 * 1024
_LONGEST_ID: Final = 256

_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_OF_CURVE: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}


class IssuerSilent(Exception):
    """The issuer does not answer, or not with keys; whether a token is good cannot be said now."""


class IssuerKeys:
    """The keys of one issuer, remembered. Thread-safe, and for any event loop."""

    def __init__(
        self,
        fetch: Callable[[], Mapping[KeyName, PyJWK]],
        *,
        live_s: float,
        refetch_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._live_s = live_s
        self._refetch_s = refetch_s
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: Mapping[KeyName, PyJWK] = {}
        self._fetched_at: float | None = None
        self._silent = False
        self._not_before: float | None = None
        self._flight: Future[None] | None = None
        self._given_up_at = 0.0
        self._log = logger("http")

    async def find(self, name: KeyName) -> PyJWK | None:
        """The key of this name; ``None`` when the issuer has none.

        Raises:
            IssuerSilent: the issuer does not answer, and what is remembered does not do.
        """
        flight = self._needed(name)
        if flight is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(flight)), _WAIT_S)
        return self._remembered(name)

    def _needed(self, name: KeyName) -> Future[None] | None:
        """What to wait for before looking."""
        with self._lock:
            now = self._clock()
            if name in self._keys and now - (self._fetched_at or 0.0) < self._live_s:
                return None
            if self._flight is not None and now < self._given_up_at:
                return self._flight
            if self._not_before is not None and now < self._not_before:
                return None
            self._not_before = now + self._refetch_s
            self._given_up_at = now + _GIVEN_UP_AFTER_S
            flight: Future[None] = Future()
            self._flight = flight
        try:
            threading.Thread(target=self._refresh, args=(flight, now), name="issuer-keys", daemon=True).start()
        except RuntimeError:  # out of threads
            self._landed(flight, None)
        return flight

    def _remembered(self, name: KeyName) -> PyJWK | None:
        with self._lock:
            usable = self._fetched_at is not None and self._clock() - self._fetched_at < _STALE * self._live_s
            if usable and name in self._keys:
                return self._keys[name]
            if not usable or self._silent or self._flight is not None:
                raise IssuerSilent
            return None

    def _refresh(self, flight: Future[None], started: float) -> None:
        try:
            keys = self._fetch()
        except Exception as error:  # noqa: BLE001 - whatever an issuer does, the door stays open for others
            self._log.warning("issuer_silent", error=type(error).__name__)
            self._landed(flight, None)
        else:
            self._log.info("issuer_keys_fetched", keys=sorted({key_id for key_id, _ in keys}))
            self._landed(flight, (keys, started))

    def _landed(self, flight: Future[None], fetched: tuple[Mapping[KeyName, PyJWK], float] | None) -> None:
        with self._lock:
            if self._flight is flight:  # not one that had been given up
                self._flight, self._silent = None, fetched is None
                if fetched is not None:
                    self._keys, self._fetched_at = fetched
        flight.set_result(None)


def fetch_keys(issuer: str, jwks_url: str | None, algorithms: frozenset[str]) -> dict[KeyName, PyJWK]:
    """The issuer's keys for these algorithms, as it publishes them now.

    Args:
        issuer: its address, exactly as in its tokens.
        jwks_url: where its keys are; ``None``: where its own configuration says.
        algorithms: asymmetric ones.

    Raises:
        OSError: no answer in time, a redirect, or another status than 200.
        ValueError: the answer is too large, or not what it should be.
    """
    if jwks_url is None:
        configuration = _document(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if configuration.get("issuer") != issuer:
            raise ValueError("the configuration is of another issuer")
        jwks_url = checked_address(str(configuration.get("jwks_uri")))
    return read_keys(_document(jwks_url), algorithms)


def read_keys(document: Mapping[str, Any], algorithms: frozenset[str]) -> dict[KeyName, PyJWK]:
    """The keys of a JWKS document that can check signatures by these algorithms; others are left out.

    Raises:
        ValueError: it is no such document.
    """
    entries = document.get("keys")
    if not isinstance(entries, list) or len(cast("list[object]", entries)) > _MAX_KEYS:
        raise ValueError("no list of keys")
    keys: dict[KeyName, PyJWK] = {}
    for entry in cast("list[object]", entries):
        if not isinstance(entry, dict):
            continue
        jwk = cast("dict[str, Any]", entry)
        key_id = jwk.get("kid")
        if not isinstance(key_id, str) or not 0 < len(key_id) <= _LONGEST_ID or jwk.get("use", "sig") != "sig":
            continue
        for algorithm in _algorithms_of(jwk) & algorithms:
            with suppress(PyJWTError, ValueError, TypeError):
                keys.setdefault((key_id, algorithm), PyJWK(jwk, algorithm=algorithm))
    return keys


def _algorithms_of(jwk: Mapping[str, Any]) -> frozenset[str]:
    """What a key is for: by its type and curve, and by what it says itself. A shared secret is for nothing here."""
    kind, said = jwk.get("kty"), jwk.get("alg")
    fitting = frozenset[str]()
    if kind == "RSA":
        fitting = _RSA
    elif kind in {"EC", "OKP"}:
        fitting = frozenset({_OF_CURVE.get(str(jwk.get("crv")), "")})
    return fitting if said is None else fitting & {str(said)}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    @override
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """Follow nothing: the status is then an error."""


def _document(url: str) -> dict[str, Any]:
    """A JSON object from an address that was checked."""
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _NoRedirect(),
    ]
    if not is_loopback(urlsplit(url).hostname):
        handlers.append(urllib.request.ProxyHandler())
    opener = urllib.request.OpenerDirector()
    for handler in handlers:
        opener.add_handler(handler)
    deadline = time.monotonic() + _ANSWERS_WITHIN_S
    body = b""
    with opener.open(url, timeout=_ANSWERS_WITHIN_S) as answer:
        while chunk := answer.read1(_CHUNK):
            body += chunk
            if len(body) > _MAX_BYTES:
                raise ValueError("the answer is too large")
            if time.monotonic() > deadline:
                raise TimeoutError
    document: object = json.loads(body)
    if not isinstance(document, dict):
        raise ValueError("the answer is no object")  # noqa: TRY004 - of what came, not of our own types
    return cast("dict[str, Any]", document)
