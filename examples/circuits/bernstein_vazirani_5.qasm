// Bernstein–Vazirani on 4 + 1 qubits: one call of the oracle f(x) = s·x mod 2 reveals the secret s = 1011: every shot reads 1011.
// The oracle is one CX from each qubit where s has a 1 into the ancilla, which is held in |−>.
OPENQASM 2.0;
include "qelib1.inc";
qreg data[4];
qreg ancilla[1];
creg meas[4];
x ancilla[0];
h ancilla[0];
h data;
barrier data, ancilla;
// the oracle
cx data[0], ancilla[0];
cx data[1], ancilla[0];
cx data[3], ancilla[0];
barrier data, ancilla;
h data;
measure data -> meas;
