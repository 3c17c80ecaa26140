"""Why a client's circuits were refused before anything was stored: one tree, with stable codes and the field at fault.

    InvalidCircuit             invalid_circuit
    ├── MalformedCircuit       invalid_circuit          the bytes are not what the codec says
    ├── UnsupportedQpyVersion  invalid_circuit          older or newer than the service reads
    ├── ForbiddenInclude       invalid_circuit          OpenQASM that includes anything but ``stdgates.inc``
    ├── InvalidAngle           invalid_circuit          an angle or delay that is not a finite number
    ├── DecodingFailed         invalid_circuit          the limited child died, or ran out of time or memory
    ├── UnsupportedInstruction unsupported_instruction  something no device of this service can do
    ├── InvalidBindings        invalid_request          unbound parameters, or columns that do not fit them
    └── TooMuchDeclared        limit_exceeded           declares or inflates to more than the published limits

:class:`DecodingUnavailable` is not the client's fault and stands outside the tree.
"""

from __future__ import annotations

from typing import ClassVar

CIRCUITS_FIELD = "circuits.data"


class InvalidCircuit(ValueError):
    """The circuits cannot be accepted.

    Attributes:
        code: stable name of the reason.
        message: a sentence for the physicist.
        field: the offending input, dotted.
        circuit: index of the offending circuit, if one is to blame.
    """

    code: ClassVar[str] = "invalid_circuit"

    def __init__(self, message: str, *, field: str = CIRCUITS_FIELD, circuit: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.circuit = circuit


class MalformedCircuit(InvalidCircuit):
    """The bytes are not what the codec says."""

    code = "invalid_circuit"


class UnsupportedQpyVersion(InvalidCircuit):
    """The QPY version is older or newer than the service reads."""

    code = "invalid_circuit"


class TooMuchDeclared(InvalidCircuit):
    """The circuits declare, or inflate to, more than the published limits."""

    code = "limit_exceeded"


class ForbiddenInclude(InvalidCircuit):
    """An OpenQASM program includes something else than ``stdgates.inc``."""

    code = "invalid_circuit"


class UnsupportedInstruction(InvalidCircuit):
    """The circuit holds an instruction that no device of this service can do."""

    code = "unsupported_instruction"


class InvalidAngle(InvalidCircuit):
    """An angle or a delay is not a finite number."""

    code = "invalid_circuit"


class InvalidBindings(InvalidCircuit):
    """Parameters stay unbound, or the columns of the bindings do not fit them."""

    code = "invalid_request"


class DecodingFailed(InvalidCircuit):
    """The limited child died, or ran out of time or memory, over these circuits."""

    code = "invalid_circuit"


class DecodingUnavailable(RuntimeError):
    """No decoding child can be started; the request may be tried again."""

    code: ClassVar[str] = "unavailable"


REFUSALS: dict[str, type[InvalidCircuit]] = {
    kind.__name__: kind
    for kind in (
        InvalidCircuit,
        MalformedCircuit,
        UnsupportedQpyVersion,
        TooMuchDeclared,
        ForbiddenInclude,
        UnsupportedInstruction,
        InvalidAngle,
        InvalidBindings,
        DecodingFailed,
    )
}
"""Name → class, for what comes back from a child."""
