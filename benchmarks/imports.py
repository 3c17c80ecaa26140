"""What ``import qpu_sdk`` costs beside ``import qiskit``: whole processes in turn, medians.

python benchmarks/imports.py --json
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from statistics import median

from report import report, spread

_STATEMENTS = {
    "qpu_sdk": "import qpu_sdk; qpu_sdk.QPUProvider; qpu_sdk.SamplerV2; qpu_sdk.EstimatorV2",
    "qiskit": "import qiskit; qiskit.QuantumCircuit; qiskit.transpile",
}
"""Lazy names are touched, so that nobody wins by doing nothing."""
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""An installed package has its bytecode beside it: the first turn writes ours."""


def import_times(repeats: int) -> dict[str, list[float]]:
    """Seconds of whole processes, ``qpu_sdk`` and ``qiskit`` in turn."""
    times: dict[str, list[float]] = {name: [] for name in _STATEMENTS}
    for turn in range(repeats + 1):
        for name, statement in _STATEMENTS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True, env=_ENVIRONMENT)  # noqa: S603 - our own statements
            if turn:  # the first turn fills the caches
                times[name].append(time.perf_counter() - start)
    return times


def main() -> None:
    """Measure the two in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=11)
    arguments = parser.parse_args()
    times = import_times(arguments.repeats)
    for name, values in times.items():
        print(f"{name:<8} s  {spread(values)}")
    ours, theirs = median(times["qpu_sdk"]), median(times["qiskit"])
    report({"ours_s": ours, "qiskit_s": theirs, "ratio": ours / theirs}, as_json=arguments.json)


if __name__ == "__main__":
    main()
