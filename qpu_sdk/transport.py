"""HTTP to the service: addresses, authentication, time-outs, retries, and problems as exceptions.

The only file that imports httpx and tenacity. Every request here may be repeated: it reads, or cancels, or submits
under an idempotency key. What is repeated is decided by the answer (``retryable`` of the exception), how often by a
budget that successes refill, so that a service in trouble is not hit harder by everybody's retries.
"""

from __future__ import annotations

import socket
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from urllib.parse import urlencode, urlsplit

import httpx
import tenacity
from pydantic import BaseModel, ValidationError

from qpu_sdk.errors import (
    BackendNotFoundError,
    CredentialsError,
    InvalidRequestError,
    NotFoundError,
    ProtocolError,
    QPUError,
    QPUJobError,
    RateLimitedError,
    RefusedError,
    ServiceError,
    ServiceUnavailableError,
    ServiceUnreachableError,
    UnauthenticatedError,
)
from qpu_sdk.patience import Patience, RetryBudget
from qpu_sdk.problems import error_from_problem
from qpu_sdk.wire.models import IDEMPOTENCY_HEADER, REQUEST_ID_HEADER, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from qpu_sdk.credentials import Credentials

DocumentT = TypeVar("DocumentT", bound=BaseModel)

PREFIX: Final = "/v1"
_NOT_MODIFIED: Final = 304
_NOT_FOUND: Final = 404
_SERVER_ERRORS: Final = 500
_ENDED: Final = (
    "; if it was an embedded service, the process that ran it has ended: open it again with QPUProvider.embedded(path)"
)
_NOT_DONE: Final = frozenset({"job_not_done", "replay_not_done"})
"""What whoever asked knows better how to wait for."""
_NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_LOCAL: Final = "http://localhost"
"""What a service at a socket is called."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Transport:
    """One authenticated, kept-alive connection pool to one service. Safe to share between threads."""

    def __init__(self, credentials: Credentials, patience: Patience | None = None) -> None:
        """Nothing is sent yet.

        Raises:
            CredentialsError: the address is neither https, nor http on loopback, nor ``unix:/path``.
        """
        self.url = _service_url(credentials.url)
        self.patience = patience or Patience()
        self._credentials = replace(credentials, url=self.url)
        self._root = _LOCAL if self.url.startswith("unix:") else self.url
        self._client: httpx.Client | None = _client(self._credentials, self.patience)
        self._budget = RetryBudget(self.patience.retry_budget)
        self._again = tenacity.Retrying(
            retry=tenacity.retry_if_exception(self._worth_repeating),
            wait=self._pause,
            stop=tenacity.stop_after_attempt(self.patience.attempts),
            reraise=True,
        )

    def __repr__(self) -> str:
        return f"Transport({self.url!r})"

    def get(
        self, path: str, model: type[DocumentT], params: Mapping[str, object] | None = None, *, wait_s: float = 0.0
    ) -> DocumentT:
        """GET a document. ``wait_s``: how long the service may hold the answer back (long poll)."""
        return _parsed(self._send("GET", path, params=params, wait_s=wait_s), model)

    def get_if_changed(
        self, path: str, model: type[DocumentT], etag: str | None
    ) -> tuple[DocumentT | None, str | None]:
        """GET a document and its ETag; the document is ``None`` if it still has the ETag we know."""
        response = self._send("GET", path, headers={"If-None-Match": etag} if etag else {})
        if response.status_code == _NOT_MODIFIED:
            return None, etag
        return _parsed(response, model), response.headers.get("ETag")

    def get_bytes(self, path: str, media_type: str, *, wait_s: float = 0.0) -> tuple[bytes, str | None]:
        """GET bytes and their ETag (without quotes). ``wait_s``: how long the service may hold the answer back."""
        headers = {"Accept": f"{media_type}, application/problem+json"}
        response = self._send("GET", path, params={"wait": wait_s or None}, headers=headers, wait_s=wait_s)
        return response.content, _etag(response)

    def post_for_bytes(self, path: str, media_type: str, body: bytes, *, wait_s: float) -> tuple[bytes, str | None]:
        """POST JSON for bytes and their ETag (without quotes); it changes nothing, so it may be repeated."""
        headers = {"Accept": f"{media_type}, application/problem+json", "Content-Type": "application/json"}
        response = self._send("POST", path, params={"wait": wait_s}, content=body, headers=headers, wait_s=wait_s)
        return response.content, _etag(response)

    def post(
        self,
        path: str,
        model: type[DocumentT],
        body: bytes = b"",
        *,
        idempotency_key: str | None = None,
        again: bool = False,
    ) -> DocumentT:
        """POST JSON. With an idempotency key the same request may arrive twice and counts once.

        ``again``: it has been sent before, nobody knows whether it arrived.
        """
        headers = {"Content-Type": "application/json"} if body else {}
        if idempotency_key is not None:
            headers[IDEMPOTENCY_HEADER] = idempotency_key
        return _parsed(self._send("POST", path, content=body, headers=headers, key=idempotency_key, lost=again), model)

    def delete(self, path: str, model: type[DocumentT]) -> DocumentT:
        """DELETE, for the document of what is left; twice is once."""
        return _parsed(self._send("DELETE", path), model)

    @contextmanager
    def stream(self, path: str, resume_from: str | None) -> Generator[EventSource]:
        """Open a stream of server-sent events; no retries here, the reader decides.

        Args:
            path: below the API prefix.
            resume_from: id of the last event seen, so that the service sends what came after it.
        """
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
        if resume_from is not None:
            headers["Last-Event-ID"] = resume_from
        timeout = httpx.Timeout(self.patience.connect_s, read=self.patience.silence_s)
        with (
            _http_errors(self.url),
            self._http.stream("GET", PREFIX + path, headers=headers, timeout=timeout) as response,
        ):
            if not response.is_success:
                response.read()
                raise _failure(response, self.url, None)
            if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
                raise ProtocolError(f"{path} did not answer with an event stream")
            yield EventSource(response, self.url)

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def start_over(self) -> None:
        """In a forked child: forget the parent's sockets, without closing them, and open own ones at the next use."""
        self._budget = RetryBudget(self.patience.retry_budget)
        if self._client is not None and not self._client.is_closed:
            self._client = None

    @property
    def _http(self) -> httpx.Client:
        client = self._client
        if client is None:  # two threads may both come here: one of the clients then serves one request only
            client = self._client = _client(self._credentials, self.patience)
        return client

    def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, object] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
        wait_s: float = 0.0,
        lost: bool = False,
    ) -> httpx.Response:
        """Send, and repeat. ``lost``: whether an earlier attempt may have arrived."""
        wanted = [
            (name, str(one))
            for name, value in (params or {}).items()
            for one in (cast("list[object]", value) if isinstance(value, list) else [value])
            if one is not None
        ]
        target = f"{path}?{urlencode(wanted)}" if wanted else path
        patience = self.patience
        timeout = httpx.Timeout(patience.connect_s, read=patience.read_s + wait_s, write=patience.write_s)

        def attempt() -> httpx.Response:
            nonlocal lost
            if self._http.is_closed:
                raise ProtocolError("the provider is closed; make a new one and fetch the job by its id")
            try:
                with _http_errors(self.url, key):
                    response = self._http.send(self._request(method, target, content, headers, timeout))
                if response.is_success or response.status_code == _NOT_MODIFIED:
                    self._budget.refill()
                    return response
                raise _failure(response, self.url, key)
            except QPUError as error:
                lost = error.in_doubt = _in_doubt(error, lost=lost)
                raise

        return self._again(attempt)

    def _request(
        self,
        method: str,
        target: str,
        content: bytes | None,
        headers: Mapping[str, str] | None,
        timeout: httpx.Timeout,
    ) -> httpx.Request:
        """A request with everything in place: the client's own builder would parse the address three times."""
        merged = self._http.headers.copy()
        merged.update(headers)
        return httpx.Request(
            method,
            f"{self._root}{PREFIX}{target}",
            headers=merged,
            content=content,
            extensions={"timeout": timeout.as_dict()},
        )

    def _worth_repeating(self, error: BaseException) -> bool:
        if not isinstance(error, QPUError) or not error.retryable or error.code in _NOT_DONE:
            return False
        too_long = error.retry_after_s is not None and error.retry_after_s > self.patience.longest_delay_s
        return not too_long and self._budget.spend()

    def _pause(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        asked_s = error.retry_after_s if isinstance(error, QPUError) else None
        drawn_s = tenacity.wait_random_exponential(2 * self.patience.first_delay_s, self.patience.longest_delay_s)(
            state
        )
        return drawn_s if asked_s is None else asked_s + min(drawn_s, 0.5)


class EventSource:
    """An open event stream: iterate over its bytes; :meth:`abort` from another thread ends the iteration."""

    def __init__(self, response: httpx.Response, url: str) -> None:
        self._response = response
        self._url = url

    def __iter__(self) -> Generator[bytes]:
        with _http_errors(self._url):
            yield from self._response.iter_bytes()

    def abort(self) -> None:
        """End the stream now; a thread blocked in it wakes up."""
        stream = self._response.extensions.get("network_stream")
        connection = None if stream is None else stream.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):  # already gone
                connection.shutdown(socket.SHUT_RDWR)  # closing alone would not wake a blocked read


def _service_url(url: str) -> str:
    """The address without the API prefix, which people copy along."""
    return url if url.startswith("unix:") else url.rstrip("/").removesuffix(PREFIX)


def _client(credentials: Credentials, patience: Patience) -> httpx.Client:
    headers = {"Authorization": f"Bearer {credentials.token}", "Accept": "application/json, application/problem+json"}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=8)
    timeout = httpx.Timeout(patience.read_s, connect=patience.connect_s)
    url = credentials.url
    if url.startswith("unix:"):
        transport = httpx.HTTPTransport(uds=url.removeprefix("unix:"), limits=limits)
        return httpx.Client(transport=transport, base_url=_LOCAL, headers=headers, timeout=timeout)
    address = urlsplit(url)
    loopback = address.hostname in _LOOPBACK
    if address.scheme not in {"http", "https"} or not address.hostname:
        raise CredentialsError(f"{url!r} is not an address: https://…, or unix:/path of a socket", field="url")
    if address.scheme == "http" and not loopback:
        raise CredentialsError(
            f"{url} would send the token in the clear: use https (http only on loopback)", field="url"
        )
    return httpx.Client(
        base_url=url, headers=headers, timeout=timeout, limits=limits, follow_redirects=False, trust_env=not loopback
    )


@contextmanager
def _http_errors(url: str, key: str | None = None) -> Generator[None]:
    """Exceptions of httpx → ours."""
    try:
        yield
    except httpx.DecodingError as error:
        undecodable = ProtocolError(f"the answer cannot be decoded: {error}", idempotency_key=key)
        undecodable.in_doubt = True
        raise undecodable from error
    except httpx.RequestError as error:
        reason = str(error) or type(error).__name__
        ended = _ENDED if url.startswith("unix:") and isinstance(error, httpx.ConnectError) else ""
        message = f"no answer from the service at {url}: {reason}{ended}"
        failure = ServiceUnreachableError(message, idempotency_key=key)
        failure.in_doubt = not isinstance(error, _NEVER_SENT)
        raise failure from error


def _in_doubt(error: QPUError, *, lost: bool) -> bool:
    """Whether the request, or one before it, may have had its effect.

    The service answers a repeated submission with its job even if it would refuse it by now; but whoever is turned away
    at the door, or by a proxy, has learned nothing of the attempts before. Neither has who comes too fast: that is said
    before anything is looked up, while an attempt before may still be under way.
    """
    if isinstance(error, ServiceUnreachableError | ProtocolError):
        return error.in_doubt or lost
    if isinstance(error, ServiceError) and (error.status_code or 0) >= _SERVER_ERRORS:
        return True
    refused = isinstance(error, RefusedError | InvalidRequestError | BackendNotFoundError | QPUJobError)
    certain = refused and not isinstance(error, RateLimitedError)
    return lost and not (certain and error.request_id is not None)


def _parsed(response: httpx.Response, model: type[DocumentT]) -> DocumentT:
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        failure = ProtocolError(
            f"{response.request.url.path} answered something that is not a {model.__name__}",
            status_code=response.status_code,
            request_id=response.headers.get(REQUEST_ID_HEADER),
        )
        failure.in_doubt = True
        raise failure from error


def _etag(response: httpx.Response) -> str | None:
    """Without quotes."""
    etag = response.headers.get("ETag")
    return None if etag is None else etag.removeprefix("W/").strip('"')


def _failure(response: httpx.Response, url: str, key: str | None) -> QPUError:
    """An answer that is not a success → the exception."""
    facts: dict[str, Any] = {
        "status_code": response.status_code,
        "request_id": response.headers.get(REQUEST_ID_HEADER),
        "idempotency_key": key,
        "retry_after_s": _retry_after_s(response),
    }
    if response.is_redirect:
        return ServiceError("the service answered with a redirect, which is not followed with a token", **facts)
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:  # not from the service itself: a proxy, or another program at this address
        known: dict[int, Callable[..., QPUError]] = {
            401: UnauthenticatedError,
            _NOT_FOUND: NotFoundError,
            429: RateLimitedError,
            502: ServiceUnavailableError,
            503: ServiceUnavailableError,
            504: ServiceUnavailableError,
        }
        kind = known.get(response.status_code, ServiceError)
        doubt = f"; is there a qpu service at {url}?" if response.status_code == _NOT_FOUND else ""
        return kind(f"HTTP status {response.status_code} from {response.request.url.path}{doubt}", **facts)
    error = error_from_problem(problem, idempotency_key=key)
    error.request_id = error.request_id or facts["request_id"]
    error.retry_after_s = error.retry_after_s if error.retry_after_s is not None else facts["retry_after_s"]
    return error


def _retry_after_s(response: httpx.Response) -> float | None:
    """``Retry-After`` in seconds; the service never sends a date."""
    try:
        return max(0.0, float(response.headers["Retry-After"]))
    except (KeyError, ValueError):
        return None
