"""Argument before environment before profile; a profile is private, whole, and never leaks."""

from __future__ import annotations

import json
import stat

import pytest

from qpu_sdk.credentials import Credentials, find_credentials, profile_path, read_profile, save_profile
from qpu_sdk.errors import CredentialsError

STORED = Credentials("https://stored", "qpu_stored")


@pytest.fixture
def path(tmp_path):
    return save_profile(STORED, path=tmp_path / "qpu" / "credentials.json")


def test_arguments_win_over_environment_over_profile(path):
    environment = {"QPU_URL": "https://env", "QPU_TOKEN": "qpu_env"}
    assert find_credentials("https://arg", "qpu_arg", environment=environment, path=path).url == "https://arg"
    assert find_credentials(environment=environment, path=path) == Credentials("https://env", "qpu_env")
    assert find_credentials(environment={}, path=path) == STORED
    assert find_credentials(None, "qpu_arg", environment=environment, path=path) == Credentials(
        "https://env", "qpu_arg"
    )


def test_a_stored_token_is_never_sent_to_another_service(path):
    with pytest.raises(CredentialsError, match="no token for https://elsewhere"):
        find_credentials("https://elsewhere", environment={}, path=path)
    assert find_credentials("https://stored", environment={}, path=path) == STORED


def test_nothing_found_says_what_to_do(tmp_path):
    with pytest.raises(CredentialsError, match="qpu login"):
        find_credentials(environment={}, path=tmp_path / "none.json")


def test_the_file_is_private_and_keeps_other_profiles(path):
    save_profile(Credentials("unix:/run/qpu.sock", "qpu_lab"), "lab", path=path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert read_profile("lab", path=path) == Credentials("unix:/run/qpu.sock", "qpu_lab")
    assert read_profile("default", path=path) == STORED
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_failed_write_leaves_the_old_file(path, monkeypatch):
    monkeypatch.setattr(json, "dump", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_profile(Credentials("https://new", "qpu_new"), path=path)
    assert read_profile(path=path) == STORED
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_file_others_can_read_is_warned_about(path):
    path.chmod(0o644)
    with pytest.warns(UserWarning, match="chmod 600"):
        read_profile(path=path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"version": 99, "profiles": {}}', '{"version": 1, "profiles": {"default": {}}}']
)
def test_a_damaged_file_is_refused_without_showing_it(path, text):
    path.write_text(text)
    with pytest.raises(CredentialsError, match="qpu login"):
        read_profile(path=path)


def test_the_token_shows_in_no_repr():
    assert "qpu_stored" not in repr(STORED)
    assert "qpu_stored" not in str(STORED)


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "schlüssel"])
def test_a_token_that_cannot_be_a_header_is_refused(token):
    with pytest.raises(CredentialsError):
        Credentials("https://service", token)


def test_the_profile_lies_in_the_xdg_folder(tmp_path):
    assert profile_path({"XDG_CONFIG_HOME": str(tmp_path)}) == tmp_path / "qpu" / "credentials.json"
    assert profile_path({"XDG_CONFIG_HOME": "relative"}).parts[-3:] == (".config", "qpu", "credentials.json")
