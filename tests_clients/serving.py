"""Runs a command on the service that the clients meet, from whatever environment: ``serving.py COMMAND …``.

The command finds the service as every program does, by ``QPU_URL`` and ``QPU_TOKEN``.
"""

from __future__ import annotations

import os
import subprocess
import sys

from qpu_sdk import QPUProvider

DEVICES = {"eagle127": {"drift": False}, "heron156": {"drift": False, "buffer": 0}}
"""Each its first snapshot for ever: what is published stays true."""


def main() -> int:
    with QPUProvider.embedded(workers=2, devices=DEVICES) as provider:
        found = {"QPU_URL": provider.service.url, "QPU_TOKEN": provider.service.token}
        return subprocess.run(sys.argv[1:], env={**os.environ, **found}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
