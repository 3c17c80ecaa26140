"""The journal of submissions: on disk before a byte is sent, gone when the answer has come.

One file per submission in ``$XDG_STATE_HOME/qpu/submissions/<service and key>/``, mode 0600: a line of facts, then the
request's bytes as they were sent. Never the key of the tenant, of which the folder's name is a digest.

::

    begin ──► file, locked ──► send ──► answer ──► file gone
                                 ┊ the process dies, or gives up waiting: the lock goes, the file stays: unfinished

A file whose lock is held is being sent by a process that lives. The lock of a dead process is released by the kernel,
so nobody has to guess whether it lives. Nothing is synchronised to the disk itself: the journal outlives the
interpreter, not a power cut. What cannot be written is said once and stops no submission.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
import threading
import time
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

try:
    import fcntl
except ImportError:  # Windows: nothing is known to be in flight there
    fcntl = None

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from qpu_sdk.credentials import Credentials

_VERSION: Final = 1
_SUFFIX: Final = ".submission"
_DRAFT: Final = ".draft-"
_OLDEST_S: Final = 7 * 86400.0
"""What nobody recovered for that long is forgotten."""
_MOST_BYTES: Final = 256_000_000
_MOST_FILES: Final = 1_000
_FOLDER: Final = re.compile(r"[0-9a-f]{32}")
"""The name of a folder of a service and a key."""
_DRAFT_S: Final = 60.0
"""A draft as old as that is of a process that died while it wrote."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A submission whose answer is not known: there is a job of it, or there is none.

    Attributes:
        idempotency_key: its name; submitted again under it, it is one job.
        backend: where it was sent.
        program: ``circuits``, ``sampler`` or ``estimator``.
        tags: of the job.
        begun_at: when it was sent first, UTC.
        num_bytes: of the request.
        in_flight: whether a process that lives is sending it now.
    """

    idempotency_key: str
    backend: str
    program: str
    tags: tuple[str, ...]
    begun_at: datetime
    num_bytes: int
    in_flight: bool
    path: Path


class Entry:
    """A submission that this process is sending: its file and the lock on it."""

    def __init__(self, path: Path, descriptor: int, held: set[Entry]) -> None:
        """The descriptor is of the locked file."""
        self._path = path
        self._descriptor = descriptor
        self._held = held
        self._lock = threading.Lock()
        self._ended = False
        held.add(self)

    def end(self, *, forget: bool) -> None:
        """This process sends it no more. The first end counts.

        Args:
            forget: what became of it is known; otherwise it is kept for later.
        """
        with self._lock:
            if self._ended:  # the descriptor's number may be another file's by now
                return
            self._ended = True
        if forget:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
        self._held.discard(self)
        os.close(self._descriptor)

    def leave(self) -> None:
        """In a forked child: the entry stays the parent's."""
        self._ended = True
        os.close(self._descriptor)

    def body(self) -> bytes:
        """The request's bytes."""
        return self._path.read_bytes().partition(b"\n")[2]


class Journal:
    """The submissions of one key to one service, of all processes of this account. Safe to share between threads."""

    def __init__(self, folder: Path | None) -> None:
        """Nothing is read or written yet; without a folder nothing ever is."""
        self._folder = folder
        self._held: set[Entry] = set()
        self._warned = False
        self._looked = False

    @classmethod
    def of(
        cls,
        credentials: Credentials,
        where: Path | str | bool = True,
        *,
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """The journal of this key.

        Args:
            credentials: of the service and the key.
            where: ``False`` for none; a folder; ``True`` for what ``QPU_JOURNAL`` says (``off`` or a folder), else
                ``$XDG_STATE_HOME/qpu/submissions``.
            environment: instead of the process's own.
        """
        variables = os.environ if environment is None else environment
        asked = variables.get("QPU_JOURNAL") or None
        if where is False or (where is True and asked == "off"):
            return cls(None)
        root = Path(where) if not isinstance(where, bool) else Path(asked) if asked else _state_folder(variables)
        if root is None:
            return cls(None)
        name = hashlib.sha256(f"qpu journal\n{credentials.url}\n{credentials.token}".encode()).hexdigest()[:32]
        return cls(root.expanduser() / name)

    @property
    def folder(self) -> Path | None:
        """Where it is; ``None`` if there is none."""
        return self._folder

    def begin(self, key: str, body: bytes, *, backend: str, program: str, tags: list[str]) -> Entry | None:
        """Write down what is about to be sent; ``None`` if there is no journal, or no place for it."""
        if self._folder is None:
            return None
        facts = {"version": _VERSION, "key": key, "backend": backend, "program": program, "tags": tags}
        line = json.dumps(facts | {"begun_at": time.time()}).encode()
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_room(len(body))
            entry = self._write(self._folder / _name(key, body), line + b"\n" + body)
        except OSError as error:
            if not self._warned:
                self._warned = True
                warnings.warn(
                    f"submissions are not journalled: {error}; one that this process does not live to see answered "
                    "is to be looked for in provider.jobs()",
                    RuntimeWarning,
                    stacklevel=5,
                )
            return None
        if not self._looked:
            self._looked = True
            self._forget_of_other_keys()
            self._tell_of_leftovers()
        return entry

    def unfinished(self) -> list[Submission]:
        """Every submission without a known answer, oldest first; also those that are being sent at the moment."""
        found = [submission for path in self._files() if (submission := _read(path)) is not None]
        return sorted(found, key=lambda submission: submission.begun_at)

    def take(self, submission: Submission) -> Entry | None:
        """Send it again, and nobody else meanwhile; ``None`` if somebody does, or it has been answered."""
        try:
            descriptor = os.open(submission.path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        except OSError:
            return None
        if _lock(descriptor):
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(descriptor), submission.path.stat()):
                    return Entry(submission.path, descriptor, self._held)
        os.close(descriptor)
        return None

    def start_over(self) -> None:
        """In a forked child: let go of the parent's locks, which stay the parent's."""
        for entry in self._held:
            entry.leave()
        self._held = set()

    # --- files -----------------------------------------------------------------------------------------------------

    def _write(self, path: Path, content: bytes) -> Entry:
        """All of it or nothing, and locked before anybody can see it."""
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=_DRAFT)  # created with mode 0600
        try:
            _lock(descriptor)
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            Path(draft).replace(path)
        except BaseException:
            os.close(descriptor)
            Path(draft).unlink(missing_ok=True)
            raise
        return Entry(path, descriptor, self._held)

    def _make_room(self, num_bytes: int) -> None:
        """Forget what is too old; where the journal is full, the oldest that nobody is sending."""
        now = time.time()
        kept: list[tuple[float, int, Path]] = []
        for path in self._files():
            with contextlib.suppress(OSError):
                stat = path.stat()
                kept.append((stat.st_mtime, stat.st_size, path))
        for draft in self._files(_DRAFT):
            with contextlib.suppress(OSError):
                if now - draft.stat().st_mtime > _DRAFT_S and not _in_flight(draft):
                    draft.unlink()
        kept.sort()
        total = sum(size for _, size, _ in kept) + num_bytes
        count = len(kept) + 1
        for written_at, size, path in kept:
            full = total > _MOST_BYTES or count > _MOST_FILES
            if (full or now - written_at > _OLDEST_S) and not _in_flight(path):
                path.unlink(missing_ok=True)
                total, count = total - size, count - 1

    def _forget_of_other_keys(self) -> None:
        """What is too old in the folders beside this one: of keys that were rotated, nobody else ever looks there."""
        if self._folder is None:
            return
        with contextlib.suppress(OSError):
            for folder in self._folder.parent.iterdir():
                if folder == self._folder or not _FOLDER.fullmatch(folder.name):
                    continue
                for path in _files_in(folder):
                    with contextlib.suppress(OSError):
                        if time.time() - path.stat().st_mtime > _OLDEST_S and not _in_flight(path):
                            path.unlink()

    def _files(self, prefix: str = "") -> Iterator[Path]:
        return iter(()) if self._folder is None else _files_in(self._folder, prefix)

    def _tell_of_leftovers(self) -> None:
        left = sum(not submission.in_flight for submission in self.unfinished())
        if left:
            warnings.warn(
                f"{left} earlier submission{'s have' if left > 1 else ' has'} no known answer: "
                "provider.unfinished_submissions() lists them, provider.recover() gives their jobs",
                UserWarning,
                stacklevel=6,
            )


def _files_in(folder: Path, prefix: str = "") -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208 - names are all that is needed
            if name.startswith(prefix) if prefix else name.endswith(_SUFFIX):
                yield folder / name


def _state_folder(variables: Mapping[str, str]) -> Path | None:
    configured = Path(variables.get("XDG_STATE_HOME", ""))
    if configured.is_absolute():
        return configured / "qpu" / "submissions"
    try:
        return Path.home() / ".local" / "state" / "qpu" / "submissions"
    except RuntimeError:  # an account without a home
        return None


def _name(key: str, body: bytes) -> str:
    """Of the file: the same for the same submission, and told from another one under the same key."""
    return hashlib.sha256(key.encode() + b"\n" + hashlib.sha256(body).digest()).hexdigest()[:32] + _SUFFIX


def _read(path: Path) -> Submission | None:
    """What a file says; ``None`` if it is gone, of another version, or damaged."""
    try:
        with path.open("rb") as file:
            facts: dict[str, Any] = json.loads(line := file.readline())
            size = os.fstat(file.fileno()).st_size - len(line)
        if facts["version"] != _VERSION:
            return None
        return Submission(
            idempotency_key=str(facts["key"]),
            backend=str(facts["backend"]),
            program=str(facts["program"]),
            tags=tuple(map(str, facts["tags"])),
            begun_at=datetime.fromtimestamp(float(facts["begun_at"]), UTC),
            num_bytes=size,
            in_flight=_in_flight(path),
            path=path,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _lock(descriptor: int) -> bool:
    """Whether the file is this descriptor's alone from now on."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _in_flight(path: Path) -> bool:
    if fcntl is None:
        return False
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
