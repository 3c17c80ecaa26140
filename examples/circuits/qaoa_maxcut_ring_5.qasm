// QAOA with one layer for MaxCut on a ring of 5 vertices, at its best angles (gamma = pi/4, beta = pi/8).
// The mean cut is 3.75 edges, 3/4 of the ring, where guessing gives 2.5 and the best is 4. Bit i of a string is the side of vertex i.
OPENQASM 2.0;
include "qelib1.inc";
qreg q[5];
creg meas[5];
h q;
barrier q;
// cost: exp(-i pi/8 Z Z) on each edge
cx q[0], q[1];
rz(pi/4) q[1];
cx q[0], q[1];
cx q[1], q[2];
rz(pi/4) q[2];
cx q[1], q[2];
cx q[2], q[3];
rz(pi/4) q[3];
cx q[2], q[3];
cx q[3], q[4];
rz(pi/4) q[4];
cx q[3], q[4];
cx q[4], q[0];
rz(pi/4) q[0];
cx q[4], q[0];
barrier q;
// mixer
rx(-pi/4) q;
barrier q;
measure q -> meas;
