"""The contract between SDK and service: the data that crosses the wire, and nothing that acts on it."""
