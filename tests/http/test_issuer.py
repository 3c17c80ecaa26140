"""The keys of an issuer come and go, and the issuer too: who comes in meanwhile, and how often it is asked."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from believing import LIVE_S, REFETCH_S, House, token
from issuer import AUDIENCE, Issuer

from qpu_backend.domain.tenancy import Role

if TYPE_CHECKING:
    from collections.abc import Callable


# --- keys come and go ---------------------------------------------------------------------------------------------


def test_a_new_key_works_without_a_restart_and_the_old_one_stops(house):
    old = list(house.issuer.keys)[-1]
    before, private = token(house), house.issuer.keys[old]
    house.me(before)
    house.issuer.rotate()
    house.later()
    assert house.me(token(house, jti="new"))["principal"] == "ada"
    house.forget()
    house.shut_out(before)
    house.shut_out(jwt.encode(house.issuer.claims(qpu_role="member"), private, "RS256", headers={"kid": old}))


def test_a_key_that_was_taken_back_stops_when_the_keys_have_lived_their_time(house):
    before = token(house)
    house.me(before)
    house.issuer.rotate()
    house.forget()
    assert house.me(before)["principal"] == "ada"  # nothing asked the issuer
    house.later(LIVE_S)
    house.forget()
    house.shut_out(before)


def test_a_flood_of_bad_tokens_is_no_flood_of_fetches(house):
    good = token(house)
    house.me(good)
    house.later()
    before = house.issuer.fetches
    for number in range(30):
        house.shut_out(token(house, header={"kid": f"made-up-{number}"}))
    assert house.issuer.fetches == before + 1
    house.forget()
    assert house.me(good)["principal"] == "ada"


# --- an issuer in trouble -----------------------------------------------------------------------------------------


def silence(house: House, refused: Callable[..., Any]) -> None:
    """Tokens cannot be checked, and API keys can."""
    response = house.ask(token(house, jti=str(time.monotonic_ns())))
    problem = refused(response, "unavailable")
    assert "issuer" in problem["detail"]
    assert house.issuer.url not in response.text
    assert float(response.headers["Retry-After"]) == REFETCH_S
    assert house.ask(house.server.key("acme")).status_code == 200


TROUBLE = {
    "an error": (500, {}, b"{}"),
    "a redirect": (302, {"Location": "http://127.0.0.1:9/keys"}, b""),
    "no JSON": (200, {}, b"<html>"),
    "no object": (200, {}, b"[]"),
    "no list": (200, {}, b'{"keys": {}}'),
    "too much": (200, {}, b" " * 300_000 + b'{"keys": []}'),
    "too many": (200, {}, json.dumps({"keys": [{}] * 101}).encode()),
    "deep": (200, {}, b"[" * 100_000),
}


@pytest.mark.parametrize("what", TROUBLE)
def test_an_issuer_that_answers_nonsense_makes_tokens_wait_and_not_api_keys(house, refused, what):
    house.later(20 * LIVE_S)  # so old that nothing remembered is believed
    house.issuer.answer = TROUBLE[what]
    silence(house, refused)
    before = house.issuer.fetches
    silence(house, refused)
    assert house.issuer.fetches == before
    house.issuer.answer = None
    house.later()
    assert house.me(token(house))["principal"] == "ada"


def test_a_redirect_to_the_right_keys_is_not_followed(house, refused):
    with Issuer() as other:
        house.later(20 * LIVE_S)
        house.issuer.answer = (302, {"Location": f"{other.url}/keys"}, b"")
        silence(house, refused)
        assert other.fetches == 0


def test_known_keys_are_believed_for_a_while_when_the_issuer_is_silent(house, refused):
    house.me(token(house))
    house.issuer.answer = TROUBLE["an error"]
    house.later(2 * LIVE_S)
    assert house.me(token(house, jti="silent"))["principal"] == "ada"
    response = house.ask(token(house, header={"kid": "another"}))
    refused(response, "unavailable")
    house.later(12 * LIVE_S)
    house.forget()
    silence(house, refused)


def test_unusable_entries_among_the_keys_harm_nobody(house):
    house.issuer.extra = [
        None,
        {},
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        {"kty": "RSA", "kid": "partial"},
        {"kty": "EC", "kid": "curve", "crv": ["P-256"], "x": "AA", "y": "AA"},
        {"kty": "EC", "kid": "odd", "crv": "P-256", "x": "AA", "y": "AA"},
        {**house.issuer.published(list(house.issuer.keys)[-1]), "kid": "sealed", "use": "enc"},
        {**house.issuer.published(list(house.issuer.keys)[-1]), "kid": 7},
    ]
    assert house.me(token(house))["principal"] == "ada"
    for key_id in ("broken", "partial", "curve", "odd", "sealed"):
        house.shut_out(token(house, header={"kid": key_id}))


def test_an_issuer_that_is_gone_is_unavailable_and_its_configuration_must_be_its_own(tmp_path, running_in, refused):
    with Issuer() as issuer:
        oidc = {"issuer": f"http://localhost:{issuer.url.rpartition(':')[2]}", "audience": AUDIENCE}
        with running_in(tmp_path, oidc=oidc) as server:
            house = House(server, issuer, refused)
            server.service.administration.create_tenant("acme")
            silence(house, refused)  # the configuration says that it is of another issuer
            assert issuer.fetches == 0
            house.later()
            issuer.stop()
            silence(house, refused)


def test_without_room_for_new_principals_only_known_ones_come_in_and_keep_their_role(tmp_path, running_in, refused):
    with Issuer() as issuer:
        oidc = {
            "issuer": issuer.url,
            "audience": AUDIENCE,
            "create_principals": False,
            "jwks_url": f"{issuer.url}/keys",
            "tenant_claim": "org",
            "roles": ["member", "auditor", "operator"],
        }
        with running_in(tmp_path, oidc=oidc) as server:
            house = House(server, issuer, refused)
            server.service.administration.create_tenant("acme")
            keeper = house.principals.keeper("acme", actor="test")
            house.shut_out(issuer.token(org="acme"))
            for name, role in (("ada", Role.AUDITOR), ("ops", Role.OPERATOR), ("adm", Role.TENANT_ADMIN)):
                house.principals.create(keeper, name, role)
            assert house.me(issuer.token(org="acme", qpu_role="operator"))["role"] == "auditor"
            assert house.me(issuer.token(org="acme", sub="ops"))["role"] == "operator"
            house.shut_out(issuer.token(org="acme", sub="adm"))
            house.shut_out(issuer.token(tenant="acme"))
