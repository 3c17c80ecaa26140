"""A tenant and its own administrator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qpu_backend.domain.tenancy import Role
from qpu_backend.stores.schema_access import audit_log

if TYPE_CHECKING:
    import httpx


class Office:
    """A tenant and its administrator."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.tenant = server.tenant()
        self.admin: httpx.Client = server.client(server.key(self.tenant, Role.TENANT_ADMIN))
        self.me = self.admin.get("/v1/me").json()["principal_id"]

    def principal(self, name: str = "ada", role: str = "member") -> str:
        response = self.admin.post("/v1/principals", json={"name": name, "role": role})
        assert response.status_code == 201, response.text
        assert response.headers["Location"] == f"/v1/principals/{response.json()['id']}"
        return response.json()["id"]

    def key(self, principal_id: str, **order: Any) -> dict[str, Any]:
        response = self.admin.post(f"/v1/principals/{principal_id}/keys", json=order)
        assert response.status_code == 201, response.text
        return response.json()

    def client(self, principal_id: str) -> httpx.Client:
        return self.server.client(self.key(principal_id)["key"])

    def change(self, principal_id: str, **change: Any) -> httpx.Response:
        return self.admin.patch(f"/v1/principals/{principal_id}", json=change)

    def operator(self) -> tuple[str, httpx.Client]:
        """An operator who sits in this tenant."""
        client = self.server.client(self.server.key(self.tenant, Role.OPERATOR))
        return client.get("/v1/me").json()["principal_id"], client

    def forget(self) -> None:
        """What the door remembers of good keys for a second."""
        self.server.service.door.authenticator._remembered.clear()

    def shut_out(self, client: httpx.Client) -> bool:
        self.forget()
        return client.get("/v1/me").status_code == 401

    def audited(self, action: str) -> list[tuple[str, str, dict[str, Any]]]:
        """Actor, subject and facts of what was done in this tenant's matters."""
        of_us = audit_log.c.subject.in_(self._subjects())
        with self.server.service.database.read() as connection:
            rows = connection.execute(audit_log.select().where(audit_log.c.action == action, of_us))
            return [(row.actor, row.subject, row.facts) for row in rows]

    def _subjects(self) -> list[str]:
        ids = [one["id"] for one in self.admin.get("/v1/principals", params={"limit": 100}).json()["principals"]]
        keys = [self.admin.get(f"/v1/principals/{each}/keys", params={"limit": 100}).json()["keys"] for each in ids]
        return ids + [key["id"] for page in keys for key in page]
