"""Logs and metrics: one structured event a business fact, never a payload or a key."""
