"""What can be wrong with bytes that claim to speak the wire contract.

WireError
├── MalformedPayload     the bytes are not what they claim to be
└── UnsupportedCircuit   a circuit uses something the wire cannot carry
"""

from __future__ import annotations


class WireError(ValueError):
    """The data does not follow the wire contract."""


class MalformedPayload(WireError):
    """The bytes are not what they claim to be."""


class UnsupportedCircuit(WireError):
    """The circuit uses something the wire cannot carry."""
