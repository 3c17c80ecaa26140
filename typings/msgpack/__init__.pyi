# The part of msgpack that qpu_sdk/wire/codec.py uses; the package ships no types.
from collections.abc import Callable
from typing import Any, NamedTuple

class ExtType(NamedTuple):
    code: int
    data: bytes

def packb(o: object, *, default: Callable[[Any], object] | None = ..., use_bin_type: bool = ...) -> bytes: ...
def unpackb(
    packed: bytes,
    *,
    ext_hook: Callable[[int, bytes], object] = ...,
    raw: bool = ...,
    strict_map_key: bool = ...,
    max_buffer_size: int = ...,
) -> Any: ...
