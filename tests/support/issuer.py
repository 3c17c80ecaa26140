"""A real issuer of OpenID Connect tokens on loopback, whose keys rotate and whose tokens can be anything."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

if TYPE_CHECKING:
    from types import TracebackType

AUDIENCE = "https://qpu.example"


def unpadded(content: bytes) -> str:
    """As tokens are encoded."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class Issuer:
    """An issuer that listens while the block lasts.

    Attributes:
        url: its address, and the ``iss`` of its tokens.
        fetches: how often its keys were fetched.
        answer: what it answers instead of its keys, ``(status, headers, body)``.
        keys: its private keys that it publishes, by their ids; the last one signs.
    """

    def __init__(self) -> None:
        self.fetches = 0
        self.answer: tuple[int, dict[str, str], bytes] | None = None
        self.extra: list[Any] = []
        self.keys: dict[str, Any] = {}
        self._numbers = itertools.count(1)
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, headers, body = issuer.answered(self.path)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.rotate()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Listen no more."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def rotate(self, *, keep: bool = False, bits: int = 2048, curve: Any = None) -> str:
        """A new key that signs from now on; the ones before are not published any more, unless they are kept."""
        key_id = f"key-{next(self._numbers)}"
        key = rsa.generate_private_key(65537, bits) if curve is None else ec.generate_private_key(curve)
        self.keys = {**(self.keys if keep else {}), key_id: key}
        return key_id

    def answered(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """What a request for a path gets."""
        if path == "/.well-known/openid-configuration":
            return 200, {}, json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/keys"}).encode()
        if path != "/keys":
            return 404, {}, b""
        self.fetches += 1
        if self.answer is not None:
            return self.answer
        return 200, {}, json.dumps({"keys": [*self.extra, *map(self.published, self.keys)]}).encode()

    def published(self, key_id: str) -> dict[str, Any]:
        """A public key, as it is published."""
        public = self.keys[key_id].public_key()
        rsa_key = isinstance(public, rsa.RSAPublicKey)
        algorithm = jwt.algorithms.RSAAlgorithm if rsa_key else jwt.algorithms.ECAlgorithm
        return {**algorithm.to_jwk(public, as_dict=True), "kid": key_id, "use": "sig"}

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Those of a good token for ``ada`` of the tenant ``acme``, with changes; a claim that is None is left out."""
        now = int(time.time())
        good = {"iss": self.url, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 600, "tenant": "acme"}
        return {name: value for name, value in {**good, **changes}.items() if value is not None}

    def token(self, *, header: dict[str, Any] | None = None, key_id: str | None = None, **changes: Any) -> str:
        """A token signed by the newest key, or by the one named."""
        key_id = key_id or list(self.keys)[-1]
        key = self.keys[key_id]
        algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
        return jwt.encode(self.claims(**changes), key, algorithm, headers={"kid": key_id, **(header or {})})

    def forged(self, header: dict[str, Any], secret: bytes | None, **changes: Any) -> str:
        """A token with any header, signed by HMAC with a secret, or not at all."""
        key_id = list(self.keys)[-1]
        parts = [{"typ": "JWT", "kid": key_id, **header}, self.claims(**changes)]
        body = ".".join(unpadded(json.dumps(part).encode()) for part in parts)
        signature = b"" if secret is None else hmac.new(secret, body.encode(), hashlib.sha256).digest()
        return f"{body}.{unpadded(signature)}"

    def public_pem(self) -> bytes:
        """The newest public key, in the form that a confused verifier takes for a shared secret."""
        key = self.keys[list(self.keys)[-1]]
        return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
