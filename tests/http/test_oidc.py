"""Tokens of a real issuer: what lets in, what does not, and how little the door says about it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import jwt
import pydantic
import pytest
from believing import token
from cryptography.hazmat.primitives.asymmetric import ec
from issuer import AUDIENCE, Issuer, unpadded

from qpu_backend.bootstrap import SYSTEM
from qpu_backend.config import OidcSection
from qpu_backend.domain.tenancy import Role
from qpu_backend.stores import access

if TYPE_CHECKING:
    import httpx


# --- who comes in -------------------------------------------------------------------------------------------------


def test_the_first_login_makes_a_principal_and_the_next_ones_find_it(house):
    first = house.me(token(house, sub="first"))
    assert (first["tenant"], first["principal"], first["role"]) == ("acme", "first", "member")
    house.forget()
    assert house.me(token(house, sub="first"))["principal_id"] == first["principal_id"]
    assert house.audited(first["principal_id"]) == [("oidc", "principal.created")]
    assert house.me(token(house, sub="first", tenant="initech"))["principal_id"] != first["principal_id"]


def test_first_logins_at_the_same_time_make_one_principal(house):
    async def all_at_once() -> list[httpx.Response]:
        def ask(number: int) -> httpx.Response:
            key = token(house, sub="twin", jti=str(number))
            return house.ask(key)

        return await asyncio.gather(*(asyncio.to_thread(ask, number) for number in range(8)))

    answers = asyncio.run(all_at_once())
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["principal_id"] for answer in answers}) == 1


def test_the_role_is_the_one_that_the_issuer_says(house):
    told = house.me(token(house, sub="climber"))
    assert told["role"] == "member"
    assert house.me(token(house, sub="climber", qpu_role=["staff", "tenant_admin"]))["role"] == "tenant_admin"
    assert house.ask(token(house, sub="climber", qpu_role="tenant_admin"), "/v1/principals").status_code == 200
    house.forget()
    assert house.me(token(house, sub="climber", qpu_role="member"))["role"] == "member"
    assert house.audited(told["principal_id"]) == [
        ("oidc", "principal.created"),
        *[("oidc", "principal.role_changed")] * 2,
    ]


@pytest.mark.parametrize("kind", ["jwt", "JWT", "at+jwt", "application/at+jwt"])
def test_tokens_of_either_type_let_in(house, kind):
    assert house.me(token(house, header={"typ": kind}))["principal"] == "ada"


def test_an_audience_among_others_lets_in(house):
    assert house.me(token(house, aud=["https://other.example", AUDIENCE]))["principal"] == "ada"


def test_elliptic_keys_sign_too(house):
    house.issuer.rotate(curve=ec.SECP256R1())
    house.later()
    assert house.me(token(house))["principal"] == "ada"


# --- what does not let in -----------------------------------------------------------------------------------------

NOW = int(time.time())
WRONG: dict[str, dict[str, Any]] = {
    "issuer": {"iss": "https://elsewhere.example"},
    "issuer with a slash more": {"iss": "slash"},
    "no issuer": {"iss": None},
    "audience": {"aud": "https://other.example"},
    "no audience": {"aud": None},
    "audience in part": {"aud": AUDIENCE + "/x"},
    "expired": {"exp": NOW - 60, "iat": NOW - 600},
    "no expiry": {"exp": None},
    "expiry that is no time": {"exp": "tomorrow"},
    "expiry beyond numbers": {"exp": float("inf")},
    "not yet valid": {"nbf": NOW + 3600},
    "issued in the future": {"iat": NOW + 3600},
    "no time of issue": {"iat": None},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "a subject of control characters": {"sub": "a\x00b"},
    "a long subject": {"sub": "a" * 129},
    "no tenant": {"tenant": None},
    "a tenant that is no word": {"tenant": ["acme"]},
    "an unknown tenant": {"tenant": "nobody"},
    "a tenant with a slash": {"tenant": "acme/x"},
    "no role": {"qpu_role": None},
    "an unknown role": {"qpu_role": "owner"},
    "operator": {"qpu_role": "operator"},
    "billing": {"qpu_role": "billing"},
    "two roles": {"qpu_role": ["member", "tenant_admin"]},
    "a role in an object": {"qpu_role": {"role": "member"}},
}


@pytest.mark.parametrize("what", WRONG)
def test_a_claim_that_is_wrong_or_missing_shuts_out(house, what):
    changes = WRONG[what]
    if changes.get("iss") == "slash":
        changes = {"iss": house.issuer.url + "/"}
    house.shut_out(token(house, **changes))


def test_a_token_within_the_leeway_lets_in_and_beyond_it_does_not(house):
    now = int(time.time())
    assert house.me(token(house, exp=now - 2, iat=now - 60))["principal"] == "ada"
    house.shut_out(token(house, exp=now - 7, iat=now - 60))


def test_a_token_without_a_signature_shuts_out(house):
    for algorithm in ("none", "None", "NONE", "", None, ["RS256"], 7):
        house.shut_out(house.issuer.forged({"alg": algorithm}, None, qpu_role="tenant_admin"))


def test_the_public_key_is_no_shared_secret(house):
    house.me(token(house))  # the key is known
    public = house.issuer.published(list(house.issuer.keys)[-1])
    for secret in (house.issuer.public_pem(), json.dumps(public).encode(), public["n"].encode()):
        for algorithm in ("HS256", "RS256", "hs256"):
            house.shut_out(house.issuer.forged({"alg": algorithm}, secret, qpu_role="tenant_admin"))


def test_a_shared_secret_that_the_issuer_publishes_is_no_key(house):
    secret = b"published by mistake, so known to everybody"
    house.issuer.extra = [{"kty": "oct", "k": unpadded(secret), "kid": "shared", "alg": "HS256"}]
    house.shut_out(house.issuer.forged({"alg": "HS256", "kid": "shared"}, secret))
    house.shut_out(house.issuer.forged({"alg": "RS256", "kid": "shared"}, secret))
    assert house.me(token(house))["principal"] == "ada"


def test_keys_that_the_token_brings_along_are_not_looked_at(house):
    with Issuer() as other:
        key_id = list(other.keys)[-1]
        own = list(house.issuer.keys)[-1]
        bring = {"jwk": other.published(key_id), "jku": f"{other.url}/keys", "x5u": f"{other.url}/keys"}
        claims = house.issuer.claims(qpu_role="tenant_admin")
        for named in (own, key_id):
            signed = jwt.encode(claims, other.keys[key_id], "RS256", headers={"kid": named, **bring})
            house.shut_out(signed)
        assert other.fetches == 0


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "logout+jwt"},
        {"typ": 7},
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": True},
        {"kid": None},
        {"kid": 7},
        {"kid": "../../key"},
        {"kid": "k" * 5000},
        {"alg": "RS512"},
        {"alg": "PS256"},
    ],
    ids=str,
)
def test_a_header_that_is_not_understood_shuts_out(house, header):
    good = token(house)
    house.me(good)
    fields = {**jwt.get_unverified_header(good), **header}
    changed = unpadded(json.dumps({name: value for name, value in fields.items() if value is not None}).encode())
    _, claims, signature = good.split(".")
    house.shut_out(f"{changed}.{claims}.{signature}")


def test_a_token_that_was_changed_shuts_out(house):
    good = token(house)
    header, claims, signature = good.split(".")
    promoted = unpadded(json.dumps(house.issuer.claims(qpu_role="tenant_admin")).encode())
    for changed in (
        f"{header}.{promoted}.{signature}",
        f"{header}.{claims}.{signature[:-6]}AAAAAA",
        f"{header}.{claims}.",
        f"{header}.{claims}",
        f"{header}..{signature}",
        "..",
        "a.b.c",
        f"{good}.{signature}",
        unpadded(b"[" * 3000) + ".x.y",
        unpadded(b'"text"') + ".e30.AA",
        "eyJ",
    ):
        house.shut_out(changed)


def test_a_weak_key_of_the_issuer_is_not_used(house):
    house.issuer.rotate(bits=1024)
    house.later()
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        weak = token(house)
    house.shut_out(weak)


def test_an_endless_token_is_not_looked_at(house, refused):
    assert "too long" in refused(house.ask("x" * 9000), "unauthenticated")["detail"]


def test_a_subject_cannot_become_an_operator_of_that_name(house):
    keeper = house.principals.keeper("acme", actor="test")
    house.principals.create(keeper, "root", Role.OPERATOR)
    house.shut_out(token(house, sub="root"))
    house.shut_out(token(house, sub="root", qpu_role="tenant_admin"))
    assert house.principal("root")[1].role is Role.OPERATOR


def test_a_disabled_principal_or_tenant_is_shut_out(house):
    house.me(token(house, sub="leaver"))
    keeper, row = house.principal("leaver")
    house.principals.change(keeper, row.id, disabled=True)
    house.forget()
    house.shut_out(token(house, sub="leaver"))
    house.shut_out(token(house, sub="leaver", qpu_role="tenant_admin"))
    assert house.principal("leaver")[1].disabled
    house.principals.change(keeper, row.id, disabled=False)
    assert house.me(token(house, sub="leaver"))["principal"] == "leaver"
    administration = house.service.administration
    administration.set_tenant_disabled("initech", disabled=True)
    house.shut_out(token(house, sub="new", tenant="initech"))
    administration.set_tenant_disabled("initech", disabled=False)
    with house.service.database.read() as connection:
        tenant = access.find_tenant(connection, SYSTEM, "initech")
        assert tenant is not None
        assert "new" not in {row.name for row in access.list_principals(connection, SYSTEM, tenant.id)}


# --- what an operator can set -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "setting",
    [
        {"issuer": "http://login.example"},
        {"issuer": "ftp://login.example"},
        {"issuer": "https://"},
        {"issuer": "login.example"},
        {"issuer": "https://user:word@login.example"},
        {"issuer": "https://login.example/?x=1"},
        {"issuer": "https://login.example/#x"},
        {"issuer": "http://127.0.0.1.example"},
        {"issuer": "http://localhost@login.example"},
        {"jwks_url": "http://login.example/keys"},
        {"jwks_url": "file:///etc/passwd"},
        {"audience": ""},
        {"algorithms": []},
        {"algorithms": ["none"]},
        {"algorithms": ["RS256", "HS256"]},
        {"leeway_s": 61},
        {"refetch_s": 0},
        {"roles": []},
        {"roles": ["owner"]},
        {"secret": "x"},
    ],
    ids=str,
)
def test_a_setting_that_would_not_be_safe_is_refused(setting):
    good = {"issuer": "https://login.example/realm", "audience": AUDIENCE}
    assert OidcSection.model_validate(good).roles == {Role.MEMBER, Role.TENANT_ADMIN}
    with pytest.raises(pydantic.ValidationError):
        OidcSection.model_validate(good | setting)


def test_a_service_without_an_issuer_loads_nothing_of_tokens():
    code = "import sys, qpu_backend.embedded; print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"jwt", "cryptography"} & set(run.stdout.split())


def test_without_an_issuer_a_token_is_a_key_that_does_not_exist(server, refused):
    with Issuer() as issuer:
        problem = refused(server.client(issuer.token()).get("/v1/me"), "unauthenticated")
    assert "API key" in problem["detail"]
