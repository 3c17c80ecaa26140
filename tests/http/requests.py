"""Bodies of ``POST /v1/jobs``, good and bad, and what tests do with answers."""
