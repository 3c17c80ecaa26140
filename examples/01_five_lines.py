"""Five lines of code: a GHZ state on five qubits of a shared chip, and its bill. Needs `pip install ".[server]"`."""

from qiskit import QuantumCircuit, transpile

from qpu_sdk import QPUProvider, SamplerV2

circuit = QuantumCircuit(5)
circuit.h(0)
for qubit in range(4):
    circuit.cx(qubit, qubit + 1)
circuit.measure_all()

provider = QPUProvider.embedded()  # the whole service, in this process; or QPUProvider.connect(url, token)
backend = provider.backend("eagle127:line-5")  # five qubits in a line, wherever the chip has room
job = SamplerV2(backend).run([transpile(circuit, backend)], shots=4000)
print(job.result()[0].data.meas.get_counts(), job.metering())
