"""The door: routes, keys and problem documents. It decides nothing."""
