# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false
# (Qiskit ships no types: what comes from it is unknown to the checker.)
"""The sampler primitive, run by the service: one job for all pubs; parametric circuits go up once with bindings."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qiskit.primitives import BaseSamplerV2
from qiskit.primitives.containers.sampler_pub import SamplerPub

from qpu_sdk.awaiting import AioPrimitive
from qpu_sdk.backend import chosen_backend
from qpu_sdk.options import SamplerOptions
from qpu_sdk.splitting import Weight
from qpu_sdk.submission import Order
from qpu_sdk.validation import check_bindings, check_measured, check_registers, coerce_pubs
from qpu_sdk.wire.answers import PubOnClient
from qpu_sdk.wire.circuits import binding_table, distinct_circuits, encode_bindings
from qpu_sdk.wire.models import ProgramKind, Pub

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from qiskit.primitives import SamplerPubLike

    from qpu_sdk.backend import QPUBackend
    from qpu_sdk.job import QPUJob
    from qpu_sdk.quotes import Quote
    from qpu_sdk.session import Session


class SamplerV2(BaseSamplerV2):  # pyright: ignore[reportUntypedBaseClass]
    """Samples bit strings: ``SamplerV2(backend).run([(circuit, values, shots)])``.

    Examples:
        >>> sampler = SamplerV2(backend, options={"default_shots": 500, "seed_simulator": 1})
        >>> bits = sampler.run([measured]).result()[0].data.meas
        >>> bits.num_shots, bits.num_bits
        (500, 2)
    """

    def __init__(
        self,
        backend: QPUBackend | Session | None = None,
        *,
        mode: QPUBackend | Session | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Nothing is sent yet.

        Args:
            backend: where to run; circuits must be transpiled for it, unless ``layout="deferred"``.
                A session is one too: all jobs then are part of it.
            mode: another spelling of ``backend``.
            options: see :class:`~qpu_sdk.options.SamplerOptions`.

        Raises:
            InvalidRequestError: there is no backend of this SDK, or an option is wrong.
        """
        self._backend, session = chosen_backend("SamplerV2", backend, mode)
        self.options = SamplerOptions.coerce(options)
        if session is not None:
            self.options.session = session

    @property
    def backend(self) -> QPUBackend:
        return self._backend

    @property
    def aio(self) -> AioPrimitive[..., QPUJob]:
        """The same, to be awaited: its ``run``."""
        return AioPrimitive(self.run, self._backend.connection.aside)

    def run(self, pubs: Iterable[SamplerPubLike], *, shots: int | None = None) -> QPUJob:
        """Submit all pubs as one job.

        Args:
            pubs: circuits, each alone or with parameter values and shots.
            shots: for pubs that do not say; otherwise ``options.default_shots``.

        Returns:
            A job whose result has, per pub, a ``BitArray`` for every classical register in the pub's shape.

        Raises:
            InvalidRequestError: before anything is sent, or by the service; see :mod:`qpu_sdk.errors`.
        """
        return self._backend.submit(self._ordered(pubs, shots))

    def quote(self, pubs: Iterable[SamplerPubLike], *, shots: int | None = None) -> Quote:
        """What :meth:`run` would cost, and when it would start; nothing is submitted or stored."""
        return self._backend.quoted(self._ordered(pubs, shots))

    def _ordered(self, pubs: Iterable[SamplerPubLike], shots: int | None) -> Order:
        options = SamplerOptions.coerce(self.options)
        default_shots = options.default_shots if shots is None else shots
        coerced = coerce_pubs(partial(SamplerPub.coerce, shots=default_shots), pubs)
        circuits, index_of = distinct_circuits([pub.circuit for pub in coerced])
        rules = self._backend.rules_for(options)
        rules.check_circuits(circuits, parametric=True, layout=options.layout)
        check_registers(circuits)
        check_measured(circuits)
        sent: list[Pub] = []
        weights: list[Weight] = []
        kept: list[PubOnClient] = []
        executions = result_bytes = 0
        for number, pub in enumerate(coerced):
            pub_shots = int(pub.shots or default_shots)
            rules.check_shots(pub_shots, f"pubs[{number}].shots")
            wire, copies = sampler_pub(pub, index_of[id(pub.circuit)], pub_shots, f"pubs[{number}]")
            sent.extend([wire] * copies)
            weights.extend([Weight.of_bits(pub_shots, pub.circuit.num_clbits)] * copies)
            kept.append(PubOnClient(shape=tuple(pub.shape), copies=copies, metadata=pub.circuit.metadata))
            executions += pub.size
            result_bytes += pub.size * pub_shots * ((pub.circuit.num_clbits + 7) // 8)
        rules.check_size(executions, result_bytes)
        return Order(ProgramKind.SAMPLER, circuits, sent, weights, kept, options)


def sampler_pub(pub: SamplerPub, circuit: int, shots: int, field: str) -> tuple[Pub, int]:
    """A pub as it goes on the wire, and how many times: a shape without parameters repeats the circuit."""
    if pub.circuit.num_parameters:
        values = binding_table(pub.circuit, pub.parameter_values)
        check_bindings(values, field)
        return Pub(circuit=circuit, shots=shots, bindings=encode_bindings(values)), 1
    check_bindings(np.zeros((pub.size, 0)), field)
    return Pub(circuit=circuit, shots=shots), pub.size
