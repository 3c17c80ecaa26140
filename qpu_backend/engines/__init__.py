"""Where circuits run, and the edge where Qiskit and Aer are known. Workers import nothing of the server."""
