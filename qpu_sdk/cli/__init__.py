"""The ``qpu`` command. An installed server mounts its own commands by the entry point group ``qpu_sdk.commands``."""

from __future__ import annotations

from qpu_sdk.cli import accounts, devices, doctor, jobs, running
from qpu_sdk.cli.root import app, main, mount_commands

__all__ = ["accounts", "app", "devices", "doctor", "jobs", "main", "mount_commands", "running"]
