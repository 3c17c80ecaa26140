"""A job for continuous integration: a cap on its price, a key that makes repeats harmless, exit codes that tell all.

0: the device is good enough. 1: it is not. 2: the service refused, e.g. because it costs more than allowed. 3: it could
not be asked; try again later with the same key. It talks to the service of `QPU_URL` and `QPU_TOKEN`, or, where there
are none, to one of its own. Runs for about 8 s.

    python examples/09_ci_job.py --at-least 0.7 --max-credits 2 --key "$GITHUB_RUN_ID"
"""

from __future__ import annotations

import argparse
import os
import sys

from qiskit import QuantumCircuit, transpile

from qpu_sdk import QPUProvider, SamplerV2
from qpu_sdk.errors import QPUError, RefusedError

QUBITS = 5
SHOTS = 4000

parser = argparse.ArgumentParser(description="Exits with 0 if a GHZ state of five qubits comes out well enough.")
parser.add_argument("--at-least", type=float, default=0.7, help="share of shots in which all qubits must agree")
parser.add_argument("--max-credits", type=float, default=2.0, help="refuse a job that costs more")
parser.add_argument("--key", help="name of this run; a run that is repeated under it gets the same job, billed once")
asked = parser.parse_args()

ghz = QuantumCircuit(QUBITS)
ghz.h(0)
for qubit in range(QUBITS - 1):
    ghz.cx(qubit, qubit + 1)
ghz.measure_all()

try:
    with QPUProvider() if "QPU_URL" in os.environ else QPUProvider.embedded() as provider:
        backend = provider.backend(f"eagle127:line-{QUBITS}")
        options = {"job_tags": ["ci"], "max_cost_micro": round(1e6 * asked.max_credits), "idempotency_key": asked.key}
        sampler = SamplerV2(backend, options={**options, "seed_simulator": 1})
        job = sampler.run([transpile(ghz, backend, seed_transpiler=1)], shots=SHOTS)
        counts = job.result(timeout=600)[0].data.meas.get_counts()
        agreed = (counts["0" * QUBITS] + counts["1" * QUBITS]) / SHOTS
        credits_paid = job.metering().price_micro / 1e6
        print(f"{agreed:.3f} of the shots agree, {asked.at_least} are asked for; {credits_paid:.2f} credits")
except RefusedError as error:
    print(f"refused: {error.message}", file=sys.stderr)
    sys.exit(2)
except QPUError as error:
    print(f"{'try again: ' if error.retryable else ''}{error.message}", file=sys.stderr)
    sys.exit(3)
sys.exit(agreed < asked.at_least)
