"""The operator's commands about principals and keys, without a server: what they say, and what the audit log says."""

from __future__ import annotations

import re
import time

import pytest
import typer
from typer.testing import CliRunner

from qpu_backend.bootstrap import SYSTEM, open_database, read_pepper
from qpu_backend.cli import commands
from qpu_backend.cli.opening import console
from qpu_backend.config import load_config
from qpu_backend.domain.keys import key_hmac
from qpu_backend.stores import access
from qpu_backend.stores.schema_access import audit_log

KEY = re.compile(r"qpu_\w{43}")
KEY_ID = re.compile(r"key_[0-9a-f]{32}")


class Desk:
    """Commands on a folder, and what is in its database afterwards."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self._app = typer.Typer()
        commands.mount(self._app)
        config = load_config(data=folder)
        self._database, self._pepper = open_database(config), read_pepper(config)

    def __call__(self, *arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(self._app, [*arguments, "--data", str(self.folder)])
        return result.exit_code, re.sub(r"[│\s]+", " ", result.output).strip()

    def key(self, *arguments: str) -> str:
        code, output = self("key", *arguments)
        assert code == 0, output
        return KEY.fullmatch(output)[0]

    def opens(self, key: str) -> bool:
        with self._database.read() as connection:
            owner = access.find_key(connection, key_hmac(key, self._pepper))
        return owner is not None and owner.valid(time.time_ns() // 1000)

    def rows(self) -> list[access.PrincipalRow]:
        with self._database.read() as connection:
            (tenant,) = access.list_tenants(connection, SYSTEM)
            return access.list_principals(connection, SYSTEM, tenant.id)

    def audited(self) -> list[tuple[str, str]]:
        with self._database.read() as connection:
            return [(row.actor, row.action) for row in connection.execute(audit_log.select().order_by(audit_log.c.id))]


@pytest.fixture
def qpu(tmp_path, monkeypatch):
    monkeypatch.setattr(console, "_width", 80)
    desk = Desk(tmp_path)
    desk("tenant", "create", "acme")
    return desk


def test_a_principal_is_made_changed_and_listed_whole_in_80_columns(qpu):
    assert qpu("principal", "create", "acme", "[b]ann", "--role", "tenant_admin")[0] == 0
    (row,) = qpu.rows()
    assert f"{row.id} [b]ann tenant_admin" in qpu("principal", "list", "acme")[1]
    assert qpu("principal", "role", "acme", "[b]ann", "operator") == (0, "[b]ann has the role operator in acme")
    assert qpu("principal", "disable", "acme", "[b]ann") == (0, "[b]ann of acme is disabled")
    assert f"{row.id} [b]ann operator yes" in qpu("principal", "list", "acme")[1]
    assert qpu("principal", "enable", "acme", "[b]ann") == (0, "[b]ann of acme is enabled")
    assert not qpu.rows()[0].disabled
    actions = ["created", "role_changed", "disabled", "enabled"]
    assert qpu.audited()[1:] == [("cli", f"principal.{action}") for action in actions]


def test_a_list_of_more_principals_than_a_page_is_whole(qpu):
    for number in range(3):
        qpu("principal", "create", "acme", f"p{number}")
    with qpu._database.write() as connection:
        for number in range(120):
            tenant_id = qpu_tenant(connection)
            access.create_principal(
                connection, SYSTEM, tenant_id=tenant_id, name=f"many-{number}", role="member", now_us=number
            )
    assert qpu("principal", "list", "acme")[1].count("prn_") == 123
    assert qpu("principal", "disable", "acme", "p2")[0] == 0


def qpu_tenant(connection) -> str:
    (tenant,) = access.list_tenants(connection, SYSTEM)
    return tenant.id


def test_a_key_is_rotated_with_a_grace_and_without(qpu):
    first = qpu.key("create", "acme", "--principal", "ann", "--label", "laptop")
    (key_id,) = KEY_ID.findall(qpu("key", "list", "acme")[1])
    assert "ann: laptop" in qpu("key", "list", "acme")[1]
    second = qpu.key("rotate", key_id)
    assert qpu.opens(first)
    assert qpu.opens(second)
    (second_id,) = set(KEY_ID.findall(qpu("key", "list", "acme")[1])) - {key_id}
    code, refusal = qpu("key", "rotate", key_id)
    assert (code, KEY_ID.findall(refusal)) == (1, [key_id, second_id])
    assert "was rotated already" in refusal
    third = qpu.key("rotate", second_id, "--grace-hours", "0")
    assert [qpu.opens(key) for key in (first, second, third)] == [True, False, True]
    assert qpu("key", "rotate", second_id)[0] == 1
    assert "revoked or has expired" in qpu("key", "rotate", second_id)[1]
    assert qpu("key", "list", "acme")[1].count("laptop") == 3
    assert qpu.audited()[1:] == [
        ("cli", f"{what}") for what in ("principal.created", "key.created", *["key.rotated"] * 2)
    ]


def test_a_key_is_revoked_with_what_came_of_it_or_alone(qpu):
    qpu.key("create", "acme", "--principal", "ann")
    (first,) = set(KEY_ID.findall(qpu("key", "list", "acme")[1]))
    second = qpu.key("rotate", first)
    (second_id,) = set(KEY_ID.findall(qpu("key", "list", "acme")[1])) - {first}
    third = qpu.key("rotate", second_id)
    assert qpu("key", "revoke", second_id, "--keep-successors") == (0, f"{second_id} is revoked")
    assert not qpu.opens(second)
    assert qpu.opens(third)
    code, output = qpu("key", "revoke", first)
    (third_id,) = set(KEY_ID.findall(output)) - {first}
    assert (code, output) == (0, f"{first} is revoked {third_id}, which came of it, is revoked too")
    assert not qpu.opens(third)
    assert qpu("key", "revoke", first) == (1, f"{first} is revoked already")
    assert qpu.audited().count(("cli", "key.revoked")) == 3


def test_all_keys_of_a_principal_are_revoked_and_no_others(qpu):
    keys = [qpu.key("create", "acme", "--principal", name) for name in ("ann", "ann", "bob")]
    assert qpu("principal", "revoke", "acme", "ann") == (0, "2 keys of ann are revoked")
    assert [qpu.opens(key) for key in keys] == [False, False, True]
    assert qpu("principal", "revoke", "acme", "ann") == (0, "0 keys of ann are revoked")
    assert qpu.audited().count(("cli", "principal.keys_revoked")) == 1


def test_a_disabled_tenant_or_principal_has_no_key_that_opens_anything(qpu):
    ann, bob = (qpu.key("create", "acme", "--principal", name) for name in ("ann", "bob"))
    qpu("principal", "disable", "acme", "ann")
    assert (qpu.opens(ann), qpu.opens(bob)) == (False, True)
    assert qpu("tenant", "disable", "acme") == (0, "acme is disabled")
    assert qpu("tenant", "disable", "acme") == (0, "acme was disabled already")
    assert not qpu.opens(bob)
    assert qpu("tenant", "enable", "acme") == (0, "acme is enabled")
    assert (qpu.opens(ann), qpu.opens(bob)) == (False, True)
    assert [row for row in qpu.audited() if "tenant" in row[1]] == [
        ("cli", f"tenant.{what}") for what in ("created", "disabled", "enabled")
    ]


@pytest.mark.parametrize(
    ("code", "words", "arguments"),
    [
        (1, "there is no tenant 'nobody'", ("principal", "create", "nobody", "ann")),
        (1, "there is no tenant 'nobody'", ("principal", "list", "nobody")),
        (1, "there is no principal 'nobody'", ("principal", "disable", "acme", "nobody")),
        (1, "there is no principal 'nobody'", ("principal", "revoke", "acme", "nobody")),
        (1, "there is no key 'key_x'", ("key", "rotate", "key_x")),
        (1, "there is no tenant 'nobody'", ("tenant", "disable", "nobody")),
        (2, "printable", ("principal", "create", "acme", "")),
        (2, "printable", ("principal", "create", "acme", "x" * 129)),
        (2, "printable", ("principal", "create", "acme", "a\nb")),
        (2, "printable", ("key", "create", "acme", "--label", "a\tb")),
        (2, "printable", ("key", "create", "acme", "--principal", "\x1b[31m")),
        (2, "720 hours", ("key", "rotate", "key_x", "--grace-hours", "-1")),
        (2, "720 hours", ("key", "rotate", "key_x", "--grace-hours", "nan")),
        (2, "720 hours", ("key", "rotate", "key_x", "--grace-hours", "1e9")),
        (2, "owner", ("principal", "role", "acme", "ann", "owner")),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_nothing_is_done(qpu, code, words, arguments):
    done, output = qpu(*arguments)
    assert (done, words in output) == (code, True), output
    assert qpu.rows() == []
    assert qpu.audited() == [("cli", "tenant.created")]
