"""Where circuits are simulated, as an operator writes it: ``local``, ``dask://host:port`` or ``dask+tls://host:port``.

Whoever reaches a Dask scheduler runs code of their choice on it, on its workers and, through what it answers, here: it
speaks in pickles. So an address beyond this machine is taken with TLS only, where both ends show a certificate.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

LOCAL: Final = "local"
"""Worker processes on this machine."""

_WRITTEN: Final = re.compile(r"(dask|dask\+tls)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})/?")
_LAST_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class ClusterAddress:
    """A Dask scheduler.

    Attributes:
        host: name or address; an IPv6 address without brackets.
        port: where it takes clients.
        tls: whether both ends prove who they are, and nobody between them reads along.
    """

    host: str
    port: int
    tls: bool

    @classmethod
    def parse(cls, text: str) -> ClusterAddress:
        """Read an address.

        Raises:
            ValueError: it is none, or one that is refused; the message says why and what to do.
        """
        written = _WRITTEN.fullmatch(text)
        if written is None or not 0 < int(written[3]) <= _LAST_PORT:
            raise ValueError(f"{text!r} is no executor: 'local', 'dask://host:port' or 'dask+tls://host:port'")
        address = cls(written[2].strip("[]"), int(written[3]), written[1] == "dask+tls")
        if not address.tls and not _is_loopback(address.host):
            raise ValueError(
                f"{text}: a Dask scheduler executes whatever it is sent, so beyond this machine it is spoken to with "
                f"TLS only; write dask+tls://{written[2]}:{written[3]}"
            )
        return address

    def for_dask(self) -> str:
        """As Dask writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.tls else 'tcp'}://{host}:{self.port}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
