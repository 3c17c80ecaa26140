"""A quote's token: read only by who signed it, for the tenant, the job and the time that it was given for."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.domain.quotes import (
    PREFIX,
    Quote,
    QuoteExpired,
    QuoteInvalid,
    QuoteMismatch,
    quote_key,
    sign,
    verify,
)

KEY = quote_key(b"pepper")
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=70)
AMOUNTS = st.integers(0, 2**63 - 1)
QUOTES = st.builds(Quote, TEXTS, TEXTS, TEXTS, TEXTS, AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS)
QUOTE = Quote("quo_1", "ten_ada", "2026-01", "digest", 1_000, 300_000, 100, 5_000)


@given(QUOTES)
def test_a_token_says_what_was_signed_and_goes_into_a_header_or_a_document(quote: Quote):
    token = sign(quote, KEY)
    assert verify(token, KEY, quote.tenant_id) == quote
    assert token.isascii()
    assert token.isprintable()
    assert " " not in token


@given(QUOTES, st.data())
def test_a_token_with_one_character_changed_added_or_lost_is_none(quote: Quote, data: st.DataObject):
    token = sign(quote, KEY)
    place = data.draw(st.integers(0, len(token)))
    character = data.draw(st.sampled_from("AZaz09-_.=+/ ß\x00\n"))
    spoiled = data.draw(
        st.sampled_from(
            [token[:place] + character + token[place:], token[:place] + character + token[place + 1 :], token[:place]]
        )
    )
    if spoiled != token:
        with pytest.raises(QuoteInvalid):
            verify(spoiled, KEY, quote.tenant_id)


@pytest.mark.parametrize("part", [0, 1], ids=["payload", "signature"])
def test_there_is_one_text_of_a_token_though_base64_leaves_bits_unused(part):
    for length in range(1, 4):  # so that each number of unused bits is met
        quote = replace(QUOTE, id="q" * length)
        parts = sign(quote, KEY).split(".")
        *start, last = parts[part]
        for character in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
            parts[part] = "".join([*start, character])
            if character != last:
                with pytest.raises(QuoteInvalid):
                    verify(".".join(parts), KEY, quote.tenant_id)


@given(TEXTS)
def test_any_text_is_no_token(text: str):
    for token in (text, PREFIX + text, PREFIX + text + "." + text):
        with pytest.raises(QuoteInvalid):
            verify(token, KEY, "ten_ada")


@pytest.mark.parametrize("field", [field.name for field in fields(Quote)])
def test_no_fact_can_be_changed_under_the_same_signature(field):
    value = getattr(QUOTE, field)
    other = replace(QUOTE, **{field: value + 1 if isinstance(value, int) else value + "x"})
    body, signature = sign(other, KEY).partition(".")[0], sign(QUOTE, KEY).partition(".")[2]
    with pytest.raises(QuoteInvalid):
        verify(f"{body}.{signature}", KEY, other.tenant_id)


def test_a_foreign_tenants_token_and_a_forged_one_are_refused_in_the_same_words():
    forged = sign(QUOTE, quote_key(b"another pepper"))
    refusals = []
    for token, tenant in ((sign(QUOTE, KEY), "ten_bob"), (forged, "ten_ada"), ("qpq_", "ten_ada"), ("x", "ten_ada")):
        with pytest.raises(QuoteInvalid) as refusal:
            verify(token, KEY, tenant)
        refusals.append(str(refusal.value))
    assert len(set(refusals)) == 1


def test_a_token_of_another_version_is_none():
    body = base64.urlsafe_b64encode(b'[2,"something","else"]').rstrip(b"=").decode()

    mac = hmac.new(KEY, b'[2,"something","else"]', hashlib.sha256).digest()
    with pytest.raises(QuoteInvalid):
        verify(f"{PREFIX}{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}", KEY, "else")


def test_the_key_is_not_the_pepper_and_follows_from_it():
    assert quote_key(b"pepper") == KEY != b"pepper"
    assert quote_key(b"pepper2") != KEY


@given(st.integers(-(10**6), 10**6))
def test_a_quote_holds_until_the_moment_it_names_and_not_at_it(offset_us: int):
    now_us = QUOTE.expires_at_us + offset_us
    if offset_us < 0:
        QUOTE.require("digest", now_us)
        return
    with pytest.raises(QuoteExpired, match="1970-01-01 00:00:00") as refusal:
        QUOTE.require("digest", now_us)
    assert refusal.value.field == "quote"


def test_a_quote_is_for_one_job():
    with pytest.raises(QuoteMismatch):
        QUOTE.require("another", 0)
