// W state of 5 qubits: one excitation shared equally. Each of the five strings with a single 1 has probability 1/5.
// The excitation starts on q[0]; with m = 5, 4, 3, 2 qubits left, each step keeps the share 1/m and passes on
// the rest: Ry(a) CX Ry(-a) with a = asin(sqrt(1/m)) takes |1 0> to sin(a)|1 0> + cos(a)|1 1>, and a CX back clears the giver.
OPENQASM 2.0;
include "qelib1.inc";
qreg q[5];
creg meas[5];
x q[0];
// m = 5
ry(0.4636476090008061) q[1];
cx q[0], q[1];
ry(-0.4636476090008061) q[1];
cx q[1], q[0];
// m = 4
ry(pi/6) q[2];
cx q[1], q[2];
ry(-pi/6) q[2];
cx q[2], q[1];
// m = 3
ry(0.6154797086703873) q[3];
cx q[2], q[3];
ry(-0.6154797086703873) q[3];
cx q[3], q[2];
// m = 2
ry(pi/4) q[4];
cx q[3], q[4];
ry(-pi/4) q[4];
cx q[4], q[3];
barrier q;
measure q -> meas;
