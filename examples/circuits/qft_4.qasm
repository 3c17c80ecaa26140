// Quantum Fourier transform of 4 qubits, applied to a sequence of period 4: (|1> + |5> + |9> + |13>)/2.
// The transform shows the period: only the multiples of 16/4 are read, 0000 0100 1000 1100, each with probability 1/4.
OPENQASM 2.0;
include "qelib1.inc";
qreg q[4];
creg meas[4];
// the periodic sequence
x q[0];
h q[2];
h q[3];
barrier q;
// the transform
h q[3];
cu1(pi/2) q[2], q[3];
cu1(pi/4) q[1], q[3];
cu1(pi/8) q[0], q[3];
h q[2];
cu1(pi/2) q[1], q[2];
cu1(pi/4) q[0], q[2];
h q[1];
cu1(pi/2) q[0], q[1];
h q[0];
barrier q;
// read in reverse order instead of swapping
measure q[0] -> meas[3];
measure q[1] -> meas[2];
measure q[2] -> meas[1];
measure q[3] -> meas[0];
