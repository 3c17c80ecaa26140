"""The operator's commands of ``qpu``, for those who run a service."""
