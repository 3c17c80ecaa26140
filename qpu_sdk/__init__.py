"""qpu-sdk."""
