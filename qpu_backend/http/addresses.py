"""Addresses that a secret may depend on: https anywhere, plain http only to this machine."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str | None) -> bool:
    """Whether a host of an address is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def checked_address(url: str) -> str:
    """The address itself.

    Raises:
        ValueError: it is not ``https://host…`` (or plain http on loopback), or holds a password, a query or a fragment.
    """
    parts = urlsplit(url)
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))
    if not (safe and parts.hostname and url.isascii() and url.isprintable() and " " not in url):
        raise ValueError(f"{url!r} is not an https address (plain http is for this machine only)")
    if parts.username or parts.password or parts.fragment or parts.query:
        raise ValueError("the address must be plain: no user, password, query or fragment")
    return url
