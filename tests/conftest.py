"""How every test runs: hypothesis without deadlines, so that a busy machine fails no law."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")
