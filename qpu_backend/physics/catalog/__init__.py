"""Devices as compact files that name source, date and licence, and the parser for them."""
