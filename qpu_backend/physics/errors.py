"""What can be wrong with numbers that claim to describe a device or a circuit on it.

PhysicsError
├── InvalidSnapshot   a calibration that no device can have
├── InvalidDevice     a catalogue entry that does not describe a device
├── NotCalibrated     an operation the device does not offer on these qubits
└── TooLarge          a circuit no simulation method reaches
"""

from __future__ import annotations

from typing import ClassVar


class PhysicsError(ValueError):
    """A number or a circuit that this device model cannot carry. ``code`` is stable; the message is for people."""

    code: ClassVar[str] = "physics_error"


class InvalidSnapshot(PhysicsError):
    """A calibration that no device can have; ``field`` names the offending number, e.g. ``qubits[3].t2_us``."""

    code = "invalid_snapshot"

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"snapshot refused: {field} {reason}")
        self.field = field
        self.reason = reason


class InvalidDevice(PhysicsError):
    """A catalogue entry that does not describe a device; ``field`` names the offending entry."""

    code = "invalid_device"

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"device refused: {field} {reason}")
        self.field = field
        self.reason = reason


class NotCalibrated(PhysicsError):
    """An operation that the device does not offer on these qubits now."""

    code = "not_calibrated"

    def __init__(self, operation: str, qubits: tuple[int, ...]) -> None:
        super().__init__(
            f"{operation} is not calibrated on qubits {list(qubits)}; transpile against the current target"
        )
        self.operation = operation
        self.qubits = qubits


class TooLarge(PhysicsError):
    """A circuit that no simulation method reaches; ``limit`` is what this kind of circuit may have."""

    code = "too_large"

    def __init__(self, num_qubits: int, limit: int, method: str) -> None:
        super().__init__(
            f"the circuit uses {num_qubits} qubits; the noisy simulation by {method} reaches {limit}. "
            "Split the circuit or use fewer qubits"
        )
        self.num_qubits = num_qubits
        self.limit = limit
        self.method = method
