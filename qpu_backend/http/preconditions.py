"""Conditional requests (RFC 9110, 13.1.2): what a client already has is not sent again."""

from __future__ import annotations


def is_known(etag: str, if_none_match: str | None) -> bool:
    """Whether ``If-None-Match`` names this entity tag, compared weakly: proxies that compress add ``W/``."""
    if if_none_match is None:
        return False
    known = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return bool(known & {etag, "*"})
