"""How backends, jobs and sessions show themselves: what they inherit to be drawn, and to be seen in a notebook."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Literal, Self

from qpu_sdk.errors import InvalidRequestError
from qpu_sdk.wire.crosstalk import CrosstalkDocument
from qpu_sdk.wire.models import BackendDocument, ProgramKind
from qpu_sdk.wire.paths import quoted, quoted_backend

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from qpu_sdk.connection import Connection
    from qpu_sdk.wire.models import JobDocument
    from qpu_sdk.wire.usage import MeteringRecord

Output = Literal["mpl", "text"]
"""A matplotlib figure, or rich text for a terminal."""


class DrawnBackend:
    """A backend that can be drawn."""

    @property
    @abstractmethod
    def document(self) -> BackendDocument:
        """Topology and calibration as published."""

    @property
    @abstractmethod
    def connection(self) -> Connection:
        """To its service."""

    def _repr_html_(self) -> str:
        from qpu_sdk.display.cards import backend_html  # noqa: PLC0415 - only when it is shown

        return backend_html(self.document)

    def draw(
        self,
        output: Output = "mpl",
        path: Path | str | None = None,
        *,
        qubits: str = "readout_error",
        regions: Mapping[str, Sequence[int]] | None = None,
        dark: bool = False,
    ) -> Any:
        """The map of its qubits and couplers, coloured by error; see :func:`~qpu_sdk.draw_device`.

        Args:
            output: ``mpl`` for a figure, ``text`` for the terminal.
            path: also write the figure there.
            qubits: what their colour says: ``readout_error``, ``t1_us`` or ``t2_us``.
            regions: label → qubits to mark.
            dark: for a dark page.

        Raises:
            InvalidRequestError: there is no such output or quantity, or regions share a qubit.
        """
        from qpu_sdk.display.maps import draw_device  # noqa: PLC0415 - only when it is shown
        from qpu_sdk.display.text import device_text  # noqa: PLC0415

        if _is_text(output):
            return device_text(self.document, regions, qubits=qubits)
        return draw_device(self.document, regions, path, qubits=qubits, dark=dark)

    plot = draw

    def crosstalk(self) -> CrosstalkDocument:
        """What neighbours do to each other here, as it is published: ZZ, gates at once, readout groups."""
        path = f"/backends/{quoted_backend(self.document.name)}/crosstalk"
        return self.connection.transport.get(path, CrosstalkDocument)

    def draw_crosstalk(self, output: Output = "mpl", path: Path | str | None = None, *, dark: bool = False) -> Any:
        """The map of :meth:`crosstalk`.

        Args:
            output: ``mpl`` for a figure, ``text`` for the terminal.
            path: also write the figure there.
            dark: for a dark page.

        Raises:
            InvalidRequestError: there is no such output.
        """
        from qpu_sdk.display.maps import draw_crosstalk  # noqa: PLC0415 - only when it is shown
        from qpu_sdk.display.text import crosstalk_text  # noqa: PLC0415

        if _is_text(output):
            return crosstalk_text(self.crosstalk())
        return draw_crosstalk(self.document, self.crosstalk(), path, dark=dark)


class DrawnJob:
    """A job that can be drawn, watched and plotted."""

    _connection: Connection

    @property
    @abstractmethod
    def last_known(self) -> JobDocument:
        """The job as the service told it last."""

    @abstractmethod
    def document(self) -> JobDocument:
        """The job as the service tells it now."""

    @abstractmethod
    def metering(self) -> MeteringRecord:
        """What was used, and where."""

    @abstractmethod
    def result(self, timeout: float | None = None) -> Any:
        """What it measured."""

    @abstractmethod
    def wait_for_final_state(
        self, timeout: float | None = None, wait: float = 0.0, callback: Callable[..., object] | None = None
    ) -> None:
        """Block until it is final."""

    def _repr_html_(self) -> str:
        from qpu_sdk.display.cards import job_html  # noqa: PLC0415 - only when it is shown

        return job_html(self.last_known)

    def wait(self, timeout: float | None = None, *, progress: bool = False) -> Self:
        """Block until the job is final, well or not: ``job.wait(progress=True).result()``.

        Args:
            timeout: in s; ``None`` waits for ever.
            progress: show its place in the queue and when it may start, in a terminal or a notebook.

        Raises:
            QPUJobTimeoutError: the time is over; the job goes on.
        """
        if progress:
            from qpu_sdk.display.progress import watch  # noqa: PLC0415 - only when it is shown

            watch(self, timeout)
        else:
            self.wait_for_final_state(timeout)
        return self

    def progress(self, timeout: float | None = None) -> Self:
        """:meth:`wait` with ``progress=True``."""
        return self.wait(timeout, progress=True)

    def draw(
        self,
        output: Output = "mpl",
        path: Path | str | None = None,
        *,
        qubits: str = "readout_error",
        dark: bool = False,
    ) -> Any:
        """Where it ran: its region on the device as it was calibrated then. Who was beside it is not told.

        Args:
            output: ``mpl`` for a figure, ``text`` for the terminal.
            path: also write the figure there.
            qubits: what their colour says: ``readout_error``, ``t1_us`` or ``t2_us``.
            dark: for a dark page.

        Raises:
            JobNotDoneError: it has not been placed yet.
            InvalidRequestError: there is no such output or quantity.
        """
        from qpu_sdk.display.maps import draw_job, placement_of  # noqa: PLC0415 - only when it is shown
        from qpu_sdk.display.text import job_text  # noqa: PLC0415

        as_text, metering = _is_text(output), self._where()
        placement_of(metering)
        place = quoted_backend(self.last_known.backend.partition(":")[0])
        path_then = f"/backends/{place}/calibrations/{quoted(metering.calibration_id or '')}"
        device = self._connection.transport.get(path_then, BackendDocument)
        if as_text:
            return job_text(device, metering)
        return draw_job(device, metering, path, qubits=qubits, dark=dark)

    def plot(self, ideal: Any = None, path: Path | str | None = None, **how: Any) -> Any:
        """Its result as a picture, once it is done: counts, expectation values, or IQ points, whatever it measured.

        Args:
            ideal: to compare with: of counts a circuit or probabilities, of expectation values as many exact ones.
            path: also write the figure there.
            **how: of :func:`~qpu_sdk.plot_counts`, :func:`~qpu_sdk.plot_expectations` or :func:`~qpu_sdk.plot_iq`.

        Raises:
            JobFailedError: the job failed.
            InvalidRequestError: it cannot be drawn like that.
        """
        from qpu_sdk.display.plots import has_points, plot_counts, plot_expectations, plot_iq  # noqa: PLC0415 - only when it is shown

        result = self.result()
        if self.last_known.program is ProgramKind.ESTIMATOR:
            return plot_expectations(result, ideal, path, **how)
        if has_points(result):
            if ideal is not None:
                raise InvalidRequestError("IQ points have no ideal", field="ideal")
            return plot_iq(result, path=path, **how)
        return plot_counts(result, ideal, path, **how)

    def _where(self) -> MeteringRecord:
        """The record of where it ran."""
        return self.metering()


def _is_text(output: str) -> bool:
    if output not in {"mpl", "text"}:
        raise InvalidRequestError(f"a picture is drawn as 'mpl' or 'text', not {output!r}", field="output")
    return output == "text"
