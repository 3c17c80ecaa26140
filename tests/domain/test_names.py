"""Backend names and API keys: what is a name, what is not, and that a typing mistake shows."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.domain.backends import BackendName, parse_backend
from qpu_backend.domain.errors import UnknownBackend
from qpu_backend.domain.keys import KEY_LENGTH, is_well_formed, key_hmac, make_key

RANDOMNESS = st.binary(min_size=32, max_size=32)


def test_a_device_and_a_shape_on_it_are_told_apart():
    assert parse_backend("eagle127") == BackendName("eagle127")
    assert parse_backend("eagle127:line-5") == BackendName("eagle127", "line-5")
    assert parse_backend("eagle127:eye-1-1-1-1-1") == BackendName("eagle127", "eye-1-1-1-1-1")


def test_a_slice_stands_between_the_device_and_the_shape():
    assert parse_backend("eagle127/acme") == BackendName("eagle127", slice="acme")
    assert parse_backend("eagle127/acme:line-5") == BackendName("eagle127", "line-5", "acme")
    assert parse_backend("eagle127/acme:line-5").place == "eagle127/acme"
    assert parse_backend("eagle127:line-5").place == "eagle127"


WORDS = st.from_regex(r"\A[a-z][a-z0-9_-]{0,20}\Z")


@given(WORDS, st.none() | st.integers(2, 20).map(lambda n: f"line-{n}"), st.none() | WORDS)
def test_a_name_survives_being_written_and_read(device: str, shape: str | None, part: str | None):
    name = BackendName(device, shape, part)
    assert parse_backend(str(name)) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "127", "Eagle127", "eagle 127", "eagle127\n", "eagle127:", "eagle127:line-", "eagle127:line-1"),
        *("eagle127:line-21", "eagle127:line-05", "eagle127:line-5 ", "eagle127:line-5\n", "eagle127:tee-1-2-2"),
        *(
            "eagle127:line-5:line-5",
            *("eagle127/", "eagle127/*", "eagle127/a/b", "eagle127:line-5/a", "eagle127/a:", "/a", "eagle127/a b"),
            "eagle127/Acme",
            ":line-5",
            "eagle127:line-\u0665",
            "a" * 64,
            "eagle127:line-999999999",
        ),
    ],
)
def test_other_names_are_unknown_backends(name: str):
    with pytest.raises(UnknownBackend) as refusal:
        parse_backend(name)
    assert refusal.value.name == name
    assert refusal.value.field == "backend"


@given(st.text(max_size=30))
def test_any_text_is_a_name_or_is_refused(text: str):
    with suppress(UnknownBackend):
        assert str(parse_backend(text)) == text


@given(RANDOMNESS)
def test_a_new_key_has_the_form_and_is_recognised(randomness: bytes):
    key = make_key(randomness)
    assert re.fullmatch(r"qpu_[0-9A-Za-z]{43}", key)
    assert len(key) == KEY_LENGTH
    assert is_well_formed(key)


@given(RANDOMNESS, st.integers(0, KEY_LENGTH - 1), st.characters(codec="utf-8"))
def test_one_wrong_character_shows(randomness: bytes, place: int, character: str):
    key = make_key(randomness)
    mistyped = key[:place] + character + key[place + 1 :]
    assert is_well_formed(mistyped) == (mistyped == key)


@given(st.text(max_size=60))
def test_any_other_text_is_no_key(text: str):
    assert not is_well_formed(text)


@given(RANDOMNESS, RANDOMNESS)
def test_different_randomness_makes_different_keys(one: bytes, other: bytes):
    assert (make_key(one) == make_key(other)) == (one == other)


@given(RANDOMNESS, st.binary(min_size=1), st.binary(min_size=1))
def test_what_is_stored_needs_the_pepper_and_does_not_show_the_key(randomness: bytes, pepper: bytes, other: bytes):
    key = make_key(randomness)
    stored = key_hmac(key, pepper)
    assert re.fullmatch(r"[0-9a-f]{64}", stored)
    assert key not in stored
    assert (stored == key_hmac(key, other)) == (pepper.rstrip(b"\0") == other.rstrip(b"\0")) or len(pepper + other) > 64


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_is_not_made_from_less_randomness(length: int):
    with pytest.raises(ValueError, match="32 random bytes"):
        make_key(bytes(length))
