"""Loading the SDK is cheap, and loads only what is used."""

from __future__ import annotations

import subprocess
import sys

import qpu_sdk


def _loaded_by(code: str) -> set[str]:
    program = f"{code}\nimport sys; print(' '.join(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_importing_the_package_loads_neither_qiskit_nor_httpx():
    assert not {"qiskit", "httpx", "numpy", "pydantic"} & _loaded_by("import qpu_sdk")


def test_importing_the_wire_loads_neither_qiskit_nor_httpx():
    code = "import qpu_sdk.wire.models, qpu_sdk.wire.codec, qpu_sdk.wire.results, qpu_sdk.wire.errors, qpu_sdk.wire.sse"
    assert not {"qiskit", "httpx"} & _loaded_by(code)


def test_the_pytest_plugin_loads_neither_qiskit_nor_httpx():
    assert not {"qiskit", "httpx"} & _loaded_by("import qpu_sdk.testing")


def test_the_front_door_loads_no_pictures_and_no_server():
    loaded = _loaded_by("from qpu_sdk import *")
    assert not {"matplotlib", "typer", "tqdm", "qiskit_aer", "fastapi", "sqlalchemy"} & loaded
    assert not any(name.startswith("qpu_backend") for name in loaded)
    assert "qpu_sdk.provider" in loaded


def test_every_public_name_is_there():
    assert all(getattr(qpu_sdk, name) is not None for name in qpu_sdk.__all__)
    assert set(qpu_sdk.__all__) <= set(dir(qpu_sdk))
