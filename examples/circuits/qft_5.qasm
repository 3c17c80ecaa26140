// Inverse quantum Fourier transform of 5 qubits: reads a phase. The input is the Fourier state of 19, a product of one-qubit
// phases in which q[i] turns by 2 pi 19 / 2^(i+1); the transform turns it into the integer itself, so every shot reads 10011.
OPENQASM 2.0;
include "qelib1.inc";
qreg q[5];
creg meas[5];
// the phase 19/32
h q;
u1(pi) q[0];
u1(-pi/2) q[1];
u1(3*pi/4) q[2];
u1(3*pi/8) q[3];
u1(-13*pi/16) q[4];
barrier q;
// the inverse transform; the input is in bit-reversed order, so it needs no swaps
h q[0];
cu1(-pi/2) q[0], q[1];
h q[1];
cu1(-pi/4) q[0], q[2];
cu1(-pi/2) q[1], q[2];
h q[2];
cu1(-pi/8) q[0], q[3];
cu1(-pi/4) q[1], q[3];
cu1(-pi/2) q[2], q[3];
h q[3];
cu1(-pi/16) q[0], q[4];
cu1(-pi/8) q[1], q[4];
cu1(-pi/4) q[2], q[4];
cu1(-pi/2) q[3], q[4];
h q[4];
barrier q;
measure q -> meas;
