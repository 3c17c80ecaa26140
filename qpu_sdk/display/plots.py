# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false
# (Qiskit ships no types: what comes from it is unknown to the checker.)
"""Plots of results: counts against the ideal, expectation values, IQ points, extrapolation to no noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from qpu_sdk.display.ideal import probabilities_of
from qpu_sdk.display.paper import finished, legend, sheet
from qpu_sdk.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray
    from qiskit.circuit import QuantumCircuit

    from qpu_sdk.display.colours import Theme


class Line(Protocol):
    """What makes bits of IQ points: a :class:`~qpu_sdk.readout.Discriminator`."""

    @property
    def axis(self) -> complex:
        """Unit vector across the line."""
        ...

    @property
    def threshold(self) -> float:
        """Component along the axis above which a point reads 1."""
        ...

    @property
    def centre_0(self) -> complex:
        """Of the points of a qubit in 0."""
        ...

    @property
    def centre_1(self) -> complex:
        """Of those of a qubit in 1."""
        ...

    @property
    def sigma(self) -> float:
        """Standard deviation about either, in every direction."""
        ...

    def bits(self, points: ArrayLike) -> NDArray[np.uint8]:
        """0 or 1 for each point."""
        ...


def counts_of(result: Any, pub: int = 0, binding: int | tuple[int, ...] | None = None) -> dict[str, int]:
    """Counts of all classical bits of a pub or a circuit.

    Args:
        result: of a sampler or of ``backend.run``; or counts.
        pub: which circuit or pub.
        binding: of a pub with several: which; ``None`` adds them up.

    Raises:
        InvalidRequestError: there are none in it.
    """
    if isinstance(result, Mapping):
        counts = cast("Mapping[str, int]", result)
    elif hasattr(result, "get_counts"):  # a Result, or a BitArray
        counts = cast("Mapping[str, int]", result.get_counts(*([pub] if hasattr(result, "results") else [])))
    else:
        data: Any = result[pub].data if hasattr(result, "__getitem__") else result.data
        if "evs" in data:
            raise InvalidRequestError("an estimator's result has no counts: plot_expectations", field="result")
        bits: Any = result[pub].join_data() if hasattr(result, "__getitem__") else result.join_data()
        counts = cast("Mapping[str, int]", bits.get_counts(binding))
    return {key.replace(" ", ""): int(value) for key, value in counts.items()}


def plot_counts(
    result: Any,
    ideal: QuantumCircuit | Mapping[str, float] | None = None,
    path: Path | str | None = None,
    *,
    pub: int = 0,
    binding: int | tuple[int, ...] | None = None,
    most: int = 16,
    dark: bool = False,
) -> Any:
    """Measured frequencies with their standard errors, and the ideal probabilities beside them.

    Args:
        result: of a sampler or of ``backend.run``; or counts.
        ideal: the circuit, up to 16 qubits that it acts on, or probabilities by bit string.
        path: also write the picture there.
        pub: which circuit or pub.
        binding: of a pub with several: which; ``None`` adds them up.
        most: as many strings, the likeliest, have a bar of their own; all others share the last.
        dark: for a dark page.

    Returns:
        A ``matplotlib.figure.Figure``.

    Raises:
        InvalidRequestError: there are no counts, or no ideal can be had.
        QPUError: matplotlib is not installed.
    """
    counts = counts_of(result, pub, binding)
    shots = sum(counts.values())
    if not shots:
        raise InvalidRequestError("there are no counts to draw", field="result")
    expected = {} if ideal is None else probabilities_of(ideal)
    measured = {key: value / shots for key, value in counts.items()}
    likeliest: dict[str, float] = {
        key: max(measured.get(key, 0.0), expected.get(key, 0.0)) for key in measured | expected
    }
    strings = sorted(likeliest, key=lambda key: (-likeliest[key], key))
    shown, rest = sorted(strings[:most]), strings[most:]
    rows = [(key, measured.get(key, 0.0), expected.get(key, 0.0)) for key in shown]
    if rest:
        others = [sum(table.get(key, 0.0) for key in rest) for table in (measured, expected)]
        rows.append((f"{len(rest)} others", others[0], others[1]))
    figure, axes, drawn = sheet(max(5.0, 0.42 * len(rows) + 2.0), 3.6, dark=dark)
    at = np.arange(len(rows))
    heights = np.array([row[1] for row in rows])
    errors = np.sqrt(heights * (1 - heights) / shots)
    bars = axes.bar(at, heights, width=0.7, color=drawn.first, label=f"measured, {shots:,} shots")
    axes.errorbar(at, heights, yerr=errors, fmt="none", ecolor=drawn.ink, capsize=2.5, linewidth=1)
    handles: list[Any] = [bars]
    if expected:
        values = [row[2] if row[2] > 0 else math.nan for row in rows]  # a bar without a mark should not be there
        how = {"linestyle": "none", "marker": "_", "markersize": 17, "markeredgewidth": 3, "color": drawn.second}
        handles += axes.plot(at, values, label="ideal", **how)
        distance = 0.5 * sum(abs(measured.get(key, 0) - expected.get(key, 0)) for key in strings)
        axes.set_title(f"total variation distance from the ideal: {distance:.3f}", fontsize=10, color=drawn.ink)
    names = [row[0] for row in rows]
    turned = max(map(len, names)) > 3
    axes.set_xticks(at, names, rotation=90 if turned else 0, family="monospace", fontsize=8)
    axes.set_ylabel("probability", color=drawn.ink)
    axes.set_xlabel("outcome (bit 0 is on the right)", color=drawn.ink)
    axes.set_ylim(bottom=0)
    legend(axes, handles, drawn, below=False, columns=1)
    return finished(figure, path)


def plot_expectations(
    result: Any,
    ideal: ArrayLike | None = None,
    path: Path | str | None = None,
    *,
    pub: int | None = None,
    labels: Sequence[str] | None = None,
    dark: bool = False,
) -> Any:
    """Expectation values with a standard error either way.

    Args:
        result: of an estimator.
        ideal: exact values, as many.
        path: also write the picture there.
        pub: which pub; ``None`` draws all, one after the other.
        labels: of the values, as many.
        dark: for a dark page.

    Raises:
        InvalidRequestError: the result has no expectation values, or the numbers of values differ.
        QPUError: matplotlib is not installed.
    """
    pubs = [result[pub]] if pub is not None else list(result)
    if not all("evs" in one.data for one in pubs):
        raise InvalidRequestError("the result has no expectation values: plot_counts draws bits", field="result")
    evs = np.concatenate([np.ravel(one.data.evs) for one in pubs])
    stds = np.concatenate([np.ravel(one.data.stds) for one in pubs])
    exact = None if ideal is None else np.ravel(np.asarray(ideal, dtype=float))
    for name, given in (("ideal", exact), ("labels", labels)):
        if given is not None and len(given) != len(evs):
            raise InvalidRequestError(f"{name} has {len(given)} values; the result has {len(evs)}", field=name)
    figure, axes, drawn = sheet(max(4.5, 0.3 * len(evs) + 2.0), 3.4, dark=dark)
    at = np.arange(len(evs))
    axes.axhline(0, color=drawn.faint, linewidth=0.8)
    how: dict[str, Any] = {"fmt": "o", "color": drawn.first, "ecolor": drawn.first, "capsize": 3, "markersize": 5}
    handles: list[Any] = [axes.errorbar(at, evs, yerr=stds, label="measured ± standard error", **how)]
    if exact is not None:
        how = {"linestyle": "none", "marker": "_", "markersize": 15, "markeredgewidth": 2.5, "color": drawn.second}
        handles += axes.plot(at, exact, label="ideal", **how)
    if labels is not None:
        axes.set_xticks(at, list(labels), rotation=90 if max(map(len, labels)) > 3 else 0, fontsize=8)
    elif len(evs) <= 20:
        axes.set_xticks(at)
    axes.set_xlabel("observable" if labels is not None else "number of the value", color=drawn.ink)
    axes.set_ylabel("expectation value", color=drawn.ink)
    axes.margins(x=0.08, y=0.12)
    legend(axes, handles, drawn, below=False, columns=1)
    return finished(figure, path)


def plot_iq(
    result: Any,
    discriminator: Line | None = None,
    path: Path | str | None = None,
    *,
    circuit: int = 0,
    slot: int = 0,
    dark: bool = False,
) -> Any:
    """IQ points of one classical bit: of every shot, or their mean; with the line that makes bits of them.

    Args:
        result: of ``backend.run(…, meas_level=1)``.
        discriminator: of the qubit: ``backend.discriminator(qubit)``; points are told apart by it.
        path: also write the picture there.
        circuit: number of the circuit.
        slot: which classical bit.
        dark: for a dark page.

    Raises:
        InvalidRequestError: the result has no such points.
        QPUError: matplotlib is not installed.
    """
    points = _points(result, circuit, slot)
    figure, axes, drawn = sheet(4.8, 4.6, dark=dark)
    size, alpha = (60, 1.0) if len(points) == 1 else (9, max(0.3, min(0.8, 700 / len(points))))
    handles: list[Any] = []
    bits = np.zeros(len(points), dtype=np.uint8) if discriminator is None else discriminator.bits(points)
    for bit, colour, marker in ((0, drawn.first, "o"), (1, drawn.second, "^")):
        mine: Any = points[bits == bit]
        if len(mine):
            name = f"{len(points):,} shots" if discriminator is None else f"reads {bit}: {len(mine):,}"
            handles.append(
                axes.scatter(mine.real, mine.imag, s=size, alpha=alpha, color=colour, marker=marker, lw=0, label=name)
            )
    if discriminator is not None:
        handles += _boundary(axes, discriminator, points, drawn)
    axes.set_aspect("equal", adjustable="box")
    axes.set_xlabel("I (arbitrary units)", color=drawn.ink)
    axes.set_ylabel("Q (arbitrary units)", color=drawn.ink)
    legend(axes, handles, drawn, columns=3, drop=0.12)
    return finished(figure, path)


def plot_zne(
    result: Any,
    path: Path | str | None = None,
    *,
    pub: int = 0,
    value: int = 0,
    ideal: float | None = None,
    dark: bool = False,
) -> Any:
    """Zero-noise extrapolation: the estimates at each noise factor, the curve, and the answer at no noise.

    Args:
        result: of an estimator with ``resilience.zne_mitigation``.
        path: also write the picture there.
        pub: which pub.
        value: which of its values, counted flat.
        ideal: the exact value.
        dark: for a dark page.

    Raises:
        InvalidRequestError: the result was not extrapolated.
        QPUError: matplotlib is not installed.
    """
    told: Any = result[pub].metadata.get("resilience", {}).get("zne")
    factors = result.metadata.get("execution", {}).get("mitigation", {}).get("zne", {}).get("noise_factors")
    if told is None or factors is None:
        raise InvalidRequestError("the result was not extrapolated: resilience.zne_mitigation = True", field="result")
    levels = np.asarray(factors, dtype=float)
    evs = np.asarray(told["evs_noise_factors"]).reshape(-1, len(levels))[value]
    stds = np.asarray(told["stds_noise_factors"]).reshape(-1, len(levels))[value]
    curve = str(np.ravel(told["extrapolator"])[value])
    answer, error = float(np.ravel(result[pub].data.evs)[value]), float(np.ravel(result[pub].data.stds)[value])
    figure, axes, drawn = sheet(5.0, 3.6, dark=dark)
    grid = np.linspace(0, levels.max(), 200)
    handles: list[Any] = []
    how: dict[str, Any] = {"fmt": "o", "capsize": 3, "markersize": 6}
    handles.append(axes.errorbar(levels, evs, yerr=stds, color=drawn.first, label="measured ± standard error", **how))
    fit = curve_through(levels, evs, stds, answer, curve, grid)
    handles += axes.plot(grid, fit, color=drawn.first, linestyle="--", label=curve.replace("_", " "))
    how |= {"fmt": "D", "color": drawn.second}
    handles.append(axes.errorbar([0], [answer], yerr=[error], label=f"at no noise: {answer:.3f} ± {error:.3f}", **how))
    if ideal is not None:
        handles.append(axes.axhline(ideal, color=drawn.ink, linewidth=1, linestyle=":", label=f"ideal: {ideal:.3f}"))
    axes.set_xticks([0, *levels], [f"{level:g}" for level in (0, *levels)])
    axes.set_xlabel("noise factor", color=drawn.ink)
    axes.set_ylabel("expectation value", color=drawn.ink)
    legend(axes, handles, drawn, below=False, columns=1)
    return finished(figure, path)


def curve_through(
    levels: NDArray[np.float64],
    evs: NDArray[np.float64],
    stds: NDArray[np.float64],
    answer: float,
    curve: str,
    grid: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The curve of that name which has the service's answer at no noise, as near to the estimates as it can be.

    That is the service's own: of all curves it chose the nearest, and at no noise it has this value.
    """
    weights = 1.0 / np.maximum(stds, 0.1 * float(np.median(stds[stds > 0])) if (stds > 0).any() else 1.0)
    if curve == "exponential":
        usable = (evs / answer if answer else evs) > 0
        logs = np.log(evs[usable] / answer) if answer and usable.any() else np.zeros(1)
        along = levels[usable] if answer and usable.any() else np.ones(1)
        relative = (weights * np.abs(evs))[usable] if answer and usable.any() else np.ones(1)
        decay = float((relative**2 * along * logs).sum() / (relative**2 * along**2).sum())
        return answer * np.exp(decay * grid)
    degree = {"linear": 1, "quadratic": 2}.get(curve, 3)
    powers = np.stack([levels**power for power in range(1, degree + 1)], axis=1)
    coefficients = np.linalg.pinv(powers * weights[:, None]) @ ((evs - answer) * weights)
    return answer + np.stack([grid**power for power in range(1, degree + 1)], axis=1) @ coefficients


def has_points(result: Any) -> bool:
    """Whether a result of ``backend.run`` holds IQ points."""
    return any(getattr(one, "meas_level", 2) == 1 for one in getattr(result, "results", ()))


def _points(result: Any, circuit: int, slot: int) -> NDArray[np.complex128]:
    try:
        memory = np.asarray(result.results[circuit].data.memory, dtype=float)
        pairs = memory[..., slot, :].reshape(-1, 2)
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise InvalidRequestError(
            f"no IQ points of bit {slot} of circuit {circuit}: run with meas_level=1", field="result"
        ) from error
    return pairs @ np.array([1.0, 1.0j])


def _boundary(axes: Any, line: Line, points: NDArray[np.complex128], drawn: Theme) -> list[Any]:
    across = 1j * line.axis
    foot = line.axis * line.threshold
    reach = 1.3 * max(float(np.abs(points - foot).max(initial=0)), abs(line.centre_1 - line.centre_0), 4 * line.sigma)
    ends: Any = np.array([foot - reach * across, foot + reach * across])
    middle, half = 0.5 * (line.centre_0 + line.centre_1), 0.5 * abs(line.centre_1 - line.centre_0) + 4.5 * line.sigma
    axes.set_xlim(middle.real - half, middle.real + half)
    axes.set_ylim(middle.imag - half, middle.imag + half)
    box = {"boxstyle": "round,pad=0.15", "facecolor": drawn.paper, "edgecolor": "none", "alpha": 0.8}
    shown = axes.plot(ends.real, ends.imag, color=drawn.ink, linestyle="--", linewidth=1, label="discriminator")
    angles = np.linspace(0, math.tau, 60)
    for centre, name in ((line.centre_0, "0"), (line.centre_1, "1")):
        ring: Any = centre + line.sigma * np.exp(1j * angles)
        axes.plot(ring.real, ring.imag, color=drawn.ink, linewidth=1)
        axes.annotate(
            f"|{name}⟩", (centre.real, centre.imag), color=drawn.ink, ha="center", va="center", fontsize=10, bbox=box
        )
    return list(shown)
