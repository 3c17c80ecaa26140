"""pytest fixtures for other people's projects: an embedded service and a provider on it."""
