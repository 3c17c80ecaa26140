"""Quotes: a price that the service promised, as a token that only it can have made. Nothing of it is stored.

    qpq_ <payload> . <HMAC-SHA256 of the payload>        both in URL-safe base64 without padding

Who has the token may read it; it says nothing that the quote's own document does not. What it binds is the tenant, the
digest of what is to be run (equal for the same circuits built twice), the price book and the price.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from typing import Final

from qpu_backend.domain.errors import RequestRefused

PREFIX: Final = "qpq_"
_VERSION: Final = 1
_KEY_OF: Final = b"qpu-sdk quotes, version 1"
_FIELD: Final = "quote"


class QuoteInvalid(RequestRefused):
    """The token is none that this service gave to this tenant; it does not say in what way."""

    code = "quote_invalid"
    field = _FIELD

    def __init__(self) -> None:
        super().__init__("this is no quote of yours, or not all of it; ask for one at POST /v1/quotes")


class QuoteExpired(RequestRefused):
    """The quote held until a moment that has passed."""

    code = "quote_expired"
    field = _FIELD

    def __init__(self, quote_id: str, expired_at_us: int) -> None:
        moment = datetime.fromtimestamp(expired_at_us // 1_000_000, UTC)
        super().__init__(f"quote {quote_id} held until {moment:%Y-%m-%d %H:%M:%S} UTC; ask for a new one")
        self.quote_id = quote_id
        self.expired_at_us = expired_at_us


class QuoteMismatch(RequestRefused):
    """The quote is for another job."""

    code = "quote_mismatch"
    field = _FIELD

    def __init__(self, quote_id: str) -> None:
        super().__init__(
            f"quote {quote_id} is for another job: circuits, shots, options and backend must be those that were "
            "quoted; ask for one for this job"
        )
        self.quote_id = quote_id


@dataclass(frozen=True, slots=True)
class Quote:
    """What was promised.

    Attributes:
        id: stored with the job that is submitted with it.
        tenant_id: to whom.
        price_book: under which.
        digest: of what is to be run (:func:`qpu_backend.domain.programs.canonical_digest`).
        price_micro: what it costs, if it completes.
        device_us: its stand-alone device time.
        shots: of the whole job.
        expires_at_us: wall time; it no longer holds from then on.
    """

    id: str
    tenant_id: str
    price_book: str
    digest: str
    price_micro: int
    device_us: int
    shots: int
    expires_at_us: int

    def require(self, digest: str, now_us: int) -> None:
        """Check that it is for this job, and still holds.

        Raises:
            QuoteMismatch: it is for another one.
            QuoteExpired: it did.
        """
        if self.digest != digest:
            raise QuoteMismatch(self.id)
        if self.expires_at_us <= now_us:
            raise QuoteExpired(self.id, self.expires_at_us)


def quote_key(pepper: bytes) -> bytes:
    """The key under which quotes are signed: it follows from the service's pepper, and the pepper not from it."""
    return hmac.new(pepper, _KEY_OF, hashlib.sha256).digest()


def sign(quote: Quote, key: bytes) -> str:
    """The token of a quote."""
    payload = json.dumps([_VERSION, *astuple(quote)], separators=(",", ":")).encode()
    return f"{PREFIX}{_text(payload)}.{_text(_mac(payload, key))}"


def verify(token: str, key: bytes, tenant_id: str) -> Quote:
    """The quote of a token, if it was given to this tenant. Its expiry and its job are :meth:`Quote.require`'s.

    Raises:
        QuoteInvalid: anything else.
    """
    body, _, signature = token.removeprefix(PREFIX).partition(".")
    payload, mac = _bytes(body), _bytes(signature)
    if not hmac.compare_digest(_mac(payload, key), mac) or token != f"{PREFIX}{body}.{signature}":
        raise QuoteInvalid
    version, *fields = json.loads(payload)  # signed, so it is what `sign` wrote
    if version != _VERSION:
        raise QuoteInvalid
    quote = Quote(*fields)
    if not hmac.compare_digest(quote.tenant_id.encode(), tenant_id.encode()):
        raise QuoteInvalid
    return quote


def _mac(payload: bytes, key: bytes) -> bytes:
    return hmac.new(key, payload, hashlib.sha256).digest()


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    """Inverse of :func:`_text`; there is one text for the same bytes, and no other is read."""
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise QuoteInvalid from error
    if _text(content) != text:
        raise QuoteInvalid
    return content
