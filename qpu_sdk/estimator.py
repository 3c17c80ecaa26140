# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false
# (Qiskit ships no types: what comes from it is unknown to the checker.)
"""The estimator primitive, run by the service: one job for all pubs.

Each distinct observable and each distinct (binding, observable) pair goes up once. The service groups commuting
observables; the client keeps the shape to which Qiskit broadcasts bindings against observables.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qiskit.primitives import BaseEstimatorV2
from qiskit.primitives.containers.estimator_pub import EstimatorPub

from qpu_sdk.awaiting import AioPrimitive
from qpu_sdk.backend import chosen_backend
from qpu_sdk.errors import InvalidRequestError, LimitExceededError
from qpu_sdk.options import EstimatorOptions
from qpu_sdk.splitting import Weight
from qpu_sdk.submission import Order
from qpu_sdk.validation import check_bindings, check_register_names, coerce_pubs
from qpu_sdk.wire.answers import PubOnClient
from qpu_sdk.wire.circuits import binding_table, distinct_circuits, encode_bindings, encode_observable
from qpu_sdk.wire.errors import UnsupportedCircuit
from qpu_sdk.wire.models import Observable, ProgramKind, Pub

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray
    from qiskit.primitives import EstimatorPubLike

    from qpu_sdk.backend import QPUBackend
    from qpu_sdk.job import QPUJob
    from qpu_sdk.quotes import Quote
    from qpu_sdk.session import Session


class EstimatorV2(BaseEstimatorV2):  # pyright: ignore[reportUntypedBaseClass]
    """Estimates expectation values: ``EstimatorV2(backend).run([(circuit, observables, values, precision)])``.

    Examples:
        >>> estimator = EstimatorV2(backend)
        >>> estimator.options.resilience.measure_mitigation = True
        >>> (answer,) = estimator.run([(circuit, ["ZZ", "XX"])], precision=0.05).result()
        >>> answer.data.evs.shape, bool((answer.data.evs > 0.7).all())
        ((2,), True)
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
            backend: where to run; circuits must be transpiled for it and observables laid out like them, unless
                ``layout="deferred"``.
                A session is one too: all jobs then are part of it.
            mode: another spelling of ``backend``.
            options: see :class:`~qpu_sdk.options.EstimatorOptions`.

        Raises:
            InvalidRequestError: there is no backend of this SDK, or an option is wrong.
        """
        self._backend, session = chosen_backend("EstimatorV2", backend, mode)
        self.options = EstimatorOptions.coerce(options)
        if session is not None:
            self.options.session = session

    @property
    def backend(self) -> QPUBackend:
        return self._backend

    @property
    def aio(self) -> AioPrimitive[..., QPUJob]:
        """The same, to be awaited: its ``run``."""
        return AioPrimitive(self.run, self._backend.connection.aside)

    def run(self, pubs: Iterable[EstimatorPubLike], *, precision: float | None = None) -> QPUJob:
        """Submit all pubs as one job.

        Args:
            pubs: circuits with observables, each alone or with parameter values and precision.
            precision: standard error for pubs that do not say; otherwise ``options.default_precision``.

        Returns:
            A job whose result has, per pub, ``evs`` and ``stds`` in the pub's shape.

        Raises:
            InvalidRequestError: before anything is sent, or by the service; see :mod:`qpu_sdk.errors`.
        """
        return self._backend.submit(self._ordered(pubs, precision))

    def quote(self, pubs: Iterable[EstimatorPubLike], *, precision: float | None = None) -> Quote:
        """What :meth:`run` would cost, and when it would start; nothing is submitted or stored."""
        return self._backend.quoted(self._ordered(pubs, precision))

    def _ordered(self, pubs: Iterable[EstimatorPubLike], precision: float | None) -> Order:
        options = EstimatorOptions.coerce(self.options)
        default_precision = options.default_precision if precision is None else precision
        coerced = coerce_pubs(partial(EstimatorPub.coerce, precision=default_precision), pubs)
        circuits, index_of = distinct_circuits([pub.circuit for pub in coerced])
        rules = self._backend.rules_for(options)
        rules.check_circuits(circuits, parametric=True, layout=options.layout)
        check_register_names(circuits)
        sent: list[Pub] = []
        kept: list[PubOnClient] = []
        for number, pub in enumerate(coerced):
            wire, expand = estimator_pub(pub, index_of[id(pub.circuit)], default_precision, f"pubs[{number}]")
            sent.append(wire)
            kept.append(PubOnClient(shape=tuple(pub.shape), expand=expand, metadata=pub.circuit.metadata))
        pairs = sum(len(pub.pairs or ()) for pub in sent)
        rules.check_size(sum(pub.bindings.num_bindings if pub.bindings else 1 for pub in sent), 16 * pairs)
        weights = [Weight.of_estimate(pub) for pub in sent] if options.split else []
        return Order(ProgramKind.ESTIMATOR, circuits, sent, weights, kept, options)


def estimator_pub(
    pub: EstimatorPub, circuit: int, default_precision: float, field: str
) -> tuple[Pub, NDArray[np.intp]]:
    """A pub as it goes on the wire, and for each entry of its shape the place of its pair, shape ``(size,)``."""
    precision = float(default_precision if pub.precision is None else pub.precision)
    if not precision > 0:
        raise InvalidRequestError(f"{field} has precision {precision}; it must be above 0", field=f"{field}.precision")
    parameters = pub.parameter_values
    bindings = None
    if pub.circuit.num_parameters:
        values = binding_table(pub.circuit, parameters)
        check_bindings(values, field)
        bindings = encode_bindings(values)
        binding_of = np.arange(parameters.size).reshape(parameters.shape)
    else:
        binding_of = np.zeros(parameters.shape, dtype=int)  # a shape without parameters is one binding, estimated once
    observables, observable_of = _distinct_observables(pub.observables.sparse_observables_array(), field)
    entries = np.stack([part.ravel() for part in np.broadcast_arrays(binding_of, observable_of)], axis=1)
    if not len(entries):
        raise InvalidRequestError(f"{field} asks for nothing: its shape has a zero", field=field)
    pairs, expand = np.unique(entries, axis=0, return_inverse=True)
    wire = Pub(
        circuit=circuit,
        precision=precision,
        bindings=bindings,
        observables=observables,
        pairs=[(int(binding), int(observable)) for binding, observable in pairs],
    )
    return wire, expand.reshape(-1)


def _distinct_observables(array: Any, field: str) -> tuple[list[Observable], NDArray[np.intp]]:
    """An array of ``SparseObservable`` → the different ones, and for each entry of the array which one it is."""
    observables: list[Observable] = []
    place_of: dict[object, int] = {}
    index = np.zeros(array.shape, dtype=np.intp)
    for position, sparse in np.ndenumerate(array):
        try:
            observable = encode_observable(sparse)
        except UnsupportedCircuit as error:
            raise LimitExceededError(f"{field}: {error}", field=f"{field}.observables") from error
        key = tuple((term.paulis, *term.qubits, term.coefficient) for term in observable.terms)
        if key not in place_of:
            place_of[key] = len(observables)
            observables.append(observable)
        index[position] = place_of[key]
    return observables, index
