"""Where the service is and who asks: argument, then environment (``QPU_URL``, ``QPU_TOKEN``), then the profile file.

The profile file is ``$XDG_CONFIG_HOME/qpu/credentials.json``, written atomically with mode 0600. A token that was
stored for one service is never sent to another: the profile's token counts only with the profile's own address.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qpu_sdk.errors import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_VERSION: Final = 1
_HOW = "pass url and token, set QPU_URL and QPU_TOKEN, run 'qpu login', or use QPUProvider.embedded()"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A service and a key for it. The key shows in no repr."""

    url: str
    token: str = field(repr=False)

    def __post_init__(self) -> None:
        if not self.token or not self.token.isascii() or not self.token.isprintable() or " " in self.token:
            raise CredentialsError("the token is empty or has characters that a token cannot have", field="token")


def find_credentials(
    url: str | None = None,
    token: str | None = None,
    *,
    profile: str = "default",
    environment: Mapping[str, str] | None = None,
    path: Path | None = None,
) -> Credentials:
    """Argument > environment > profile, for the address and for the token.

    Raises:
        CredentialsError: nothing found, or the profile file cannot be read.
    """
    variables = os.environ if environment is None else environment
    url = url or variables.get("QPU_URL")
    token = token or variables.get("QPU_TOKEN")
    if url is None or token is None:
        stored = read_profile(profile, path=path or profile_path(variables))
        if stored is not None and url in {None, stored.url}:
            url, token = stored.url, token or stored.token
    if url is None:
        raise CredentialsError(f"no service address: {_HOW}", field="url")
    if token is None:
        raise CredentialsError(f"no token for {url}: {_HOW}", field="token")
    return Credentials(url=url, token=token.strip())


def profile_path(environment: Mapping[str, str] | None = None) -> Path:
    """The profile file: in ``$XDG_CONFIG_HOME``, or ``~/.config`` where that is not an absolute path."""
    variables = os.environ if environment is None else environment
    configured = Path(variables.get("XDG_CONFIG_HOME", ""))
    folder = configured if configured.is_absolute() else Path.home() / ".config"
    return folder / "qpu" / "credentials.json"


def read_profile(profile: str = "default", *, path: Path | None = None) -> Credentials | None:
    """A stored profile, or ``None``.

    Raises:
        CredentialsError: the file is damaged.
    """
    path = path or profile_path()
    entry = _read(path).get(profile)
    if entry is None:
        return None
    try:
        return Credentials(url=str(entry["url"]), token=str(entry["token"]))
    except (KeyError, TypeError):
        raise CredentialsError(f"profile {profile!r} in {path} is damaged; run 'qpu login' again") from None


def save_profile(credentials: Credentials, profile: str = "default", *, path: Path | None = None) -> Path:
    """Store a profile beside the others. Readers see the old file or the new one, never half of one."""
    path = path or profile_path()
    profiles = _read(path) | {profile: {"url": credentials.url, "token": credentials.token}}
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".credentials-")  # created with mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"version": _VERSION, "profiles": profiles}, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            document: dict[str, Any] | None = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CredentialsError(f"cannot read {path}: {type(error).__name__}; run 'qpu login' again") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        warnings.warn(f"{path} can be read by others; run chmod 600 on it", stacklevel=4)
    if not isinstance(document, dict) or document.get("version") != _VERSION or "profiles" not in document:
        raise CredentialsError(f"{path} is not a profile file of this version; move it away and run 'qpu login'")
    return document["profiles"]
