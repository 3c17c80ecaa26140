"""Why a client's circuits were refused before anything was stored: one tree, each with a stable ``code`` and the field it names.

    InvalidCircuit             invalid_circuit
    ├── MalformedCircuit       malformed_circuit        the bytes are not what the codec says
    ├── UnsupportedQpyVersion  unsupported_qpy_version  older or newer than the service reads
    ├── CircuitTooLarge        circuit_too_large        declares or inflates to more than the published limits
    ├── ForbiddenInclude       forbidden_include        OpenQASM that includes anything but ``stdgates.inc``
    ├── UnsupportedInstruction unsupported_instruction  something no device of this service can do
    ├── InvalidAngle           invalid_angle            an angle or delay that is not a finite number
    ├── InvalidBindings        invalid_bindings         unbound parameters, or columns that do not fit them
    └── DecodingFailed         decoding_failed          the limited child died or ran out of time or memory

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

    code = "malformed_circuit"


class UnsupportedQpyVersion(InvalidCircuit):
    """The QPY version is older or newer than the service reads."""

    code = "unsupported_qpy_version"


class CircuitTooLarge(InvalidCircuit):
    """The circuits declare, or inflate to, more than the published limits."""

    code = "circuit_too_large"


class ForbiddenInclude(InvalidCircuit):
    """An OpenQASM program includes something else than ``stdgates.inc``."""

    code = "forbidden_include"


class UnsupportedInstruction(InvalidCircuit):
    """The circuit holds an instruction that no device of this service can do."""

    code = "unsupported_instruction"


class InvalidAngle(InvalidCircuit):
    """An angle or a delay is not a finite number."""

    code = "invalid_angle"


class InvalidBindings(InvalidCircuit):
    """Parameters stay unbound, or the columns of the bindings do not fit them."""

    code = "invalid_bindings"


class DecodingFailed(InvalidCircuit):
    """The limited child died, or ran out of time or memory, over these circuits."""

    code = "decoding_failed"


class DecodingUnavailable(RuntimeError):
    """No decoding child can be started; the request may be tried again."""

    code: ClassVar[str] = "decoding_unavailable"


INVALID_CIRCUIT_CODES: dict[str, type[InvalidCircuit]] = {
    kind.code: kind
    for kind in (
        InvalidCircuit,
        MalformedCircuit,
        UnsupportedQpyVersion,
        CircuitTooLarge,
        ForbiddenInclude,
        UnsupportedInstruction,
        InvalidAngle,
        InvalidBindings,
        DecodingFailed,
    )
}
"""Code → class, for what comes back from a child."""
