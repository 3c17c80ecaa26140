"""A service that believes a real issuer of tokens, and ways in."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from qpu_backend.stores.schema_access import audit_log

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx
    from issuer import Issuer

SENTENCE = "this token is not accepted; log in again, and if that does not help, ask who runs the service"
REFETCH_S = 10.0
LIVE_S = 300.0


class Hands:
    """A monotonic clock that can be moved forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


class House:
    """A service that believes an issuer, and ways in."""

    def __init__(self, server: Any, issuer: Issuer, refused: Callable[..., Any]) -> None:
        self.server = server
        self.issuer = issuer
        self.service = server.service
        self.principals = server.service.door.principals
        self._refused = refused
        self.client = server.client(None)
        self.hands = Hands()
        self.keys = server.service.door.authenticator._tokens[0]._keys
        self.keys._clock = self.hands

    def ask(self, token: str, path: str = "/v1/me") -> httpx.Response:
        return self.client.get(path, headers={"Authorization": f"Bearer {token}"})

    def me(self, token: str) -> dict[str, Any]:
        response = self.ask(token)
        assert response.status_code == 200, response.text
        return response.json()

    def shut_out(self, token: str) -> None:
        """The token is refused in the one sentence, which names nothing of it."""
        problem = self._refused(self.ask(token), "unauthenticated")
        assert problem["detail"] == SENTENCE

    def later(self, seconds: float = REFETCH_S) -> None:
        """The issuer may be asked again."""
        self.hands.ahead += seconds

    def forget(self) -> None:
        """What the door remembers of good tokens for a second."""
        self.service.door.authenticator._remembered.clear()

    def principal(self, name: str, tenant: str = "acme") -> Any:
        keeper = self.principals.keeper(tenant, actor="test")
        return keeper, self.principals.named(keeper, name)

    def audited(self, subject: str) -> list[tuple[str, str]]:
        with self.service.database.read() as connection:
            rows = connection.execute(audit_log.select().where(audit_log.c.subject == subject).order_by(audit_log.c.id))
            return [(row.actor, row.action) for row in rows]


def token(house: House, **changes: Any) -> str:
    """A token of the issuer that names a role."""
    return house.issuer.token(**{"qpu_role": "member", **changes})
