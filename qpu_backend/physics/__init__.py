"""The device as numbers: pure functions, with units and sources."""
