// Grover's search among 8 strings for 101, two iterations: the marked string is read with probability 121/128 = 0.945.
OPENQASM 3.0;
include "stdgates.inc";

gate oracle a, b, c {  // flips the sign of |101>
  x b;
  h c;
  ccx a, b, c;
  h c;
  x b;
}

gate diffusion a, b, c {  // reflects about the mean
  h a; h b; h c;
  x a; x b; x c;
  h c;
  ccx a, b, c;
  h c;
  x a; x b; x c;
  h a; h b; h c;
}

qubit[3] q;
bit[3] meas;
h q;
barrier q;
oracle q[0], q[1], q[2];
diffusion q[0], q[1], q[2];
barrier q;
oracle q[0], q[1], q[2];
diffusion q[0], q[1], q[2];
barrier q;
meas = measure q;
