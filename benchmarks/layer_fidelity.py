"""V5: layer fidelities measured on seven Eagle devices, and what isolated gate errors plus ZZ predict for them.

    python benchmarks/layer_fidelity.py --plot docs/_static/physics/layer_fidelity.png

A layer fidelity (arXiv 2311.05933) is measured on a chain of N qubits. Its N − 1 edges make two layers of disjoint
gates, every other edge each; a layer is repeated with random one-qubit Cliffords in between, and its fidelity is the
product of the process fidelities of its pairs; ``lf_N`` is the product over both layers::

    layer 1   q0 ══ecr══ q1 ··ZZ·· q2 ══ecr══ q3 ··ZZ·· q4 ══ecr══ q5
    layer 2   q0 ··ZZ·· q1 ══ecr══ q2 ··ZZ·· q3 ══ecr══ q4 ··ZZ·· q5

So every edge e of the chain bears a gate in one layer, with its isolated error r_e (ZZ on its own pair is part of its
calibration), and lies *between* gates in the other, where its ZZ acts for as long as that layer takes:

    −ln(LF) = −Σ_e ln(1 − 1.25 r_e) + Σ_e sin²(πζ_e t/2),     t = longest two-qubit gate of the chain + 2 sx.

The factor 1.25 = (d + 1)/d turns the average infidelity r into a process infidelity for d = 4. The second term is the
process infidelity of ``exp(−i(πζt/2) Z⊗Z)``, which is ``H = 2πζ |11⟩⟨11|`` over t without its one-qubit phases. Nothing
is fitted. The longest gate is that of the chain, because nothing else runs: with the device's longest the prediction is
worse (14.2 %). Left out: the echo within gates, which lessens the ZZ; that a ZZ error between two pairs lowers the
fidelity of both; edges that leave the chain; what a qubit without a partner in a layer loses. The first two nearly
cancel: with η = 0.6 in gates of 660 ns, 2·(0.6·660 + 120)²/780² = 0.88.

Numbers are those of ``props_*.json`` in qiskit-ibm-runtime (Apache-2.0).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

DEVICES: Final = ("brisbane", "brussels", "kawasaki", "kyiv", "osaka", "sherbrooke", "strasbourg")
LENGTHS: Final = tuple(range(10, 101, 10))
UNCALIBRATED: Final = 0.1
"""A gate error above this is a failed calibration."""
PERMUTATIONS: Final = 9_999
SEED: Final = 5

Edge = tuple[int, int]
"""Two qubits, smaller first."""

_NS: Final = {"s": 1e9, "us": 1e3, "µs": 1e3, "ns": 1.0}
_HZ: Final = {"GHz": 1e9, "MHz": 1e6, "kHz": 1e3, "Hz": 1.0}
_COLOURS: Final = ("#4269d0", "#efb118", "#ff725c", "#3ca951", "#a463f2", "#9c6b4e", "#6cc5b0")


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of qubits with its measured layer fidelity."""

    qubits: tuple[int, ...]
    fidelity: float

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Its N − 1 edges, along the chain."""
        return tuple((min(pair), max(pair)) for pair in zip(self.qubits, self.qubits[1:], strict=False))


@dataclass(frozen=True)
class Published:
    """What was published of one device.

    Attributes:
        name: e.g. ``brisbane``.
        edges: every coupler, sorted; the columns of all arrays.
        error: float64, ``(edges,)``: average infidelity of the two-qubit gate; NaN where it is missing or above
            :data:`UNCALIBRATED`.
        duration_ns: float64, ``(edges,)``: of that gate; 0 where it is missing.
        zz_hz: float64, ``(edges,)``: ζ with its sign.
        sx_ns: longest sx.
        chains: of :data:`LENGTHS`, as far as there are any.
    """

    name: str
    edges: tuple[Edge, ...]
    error: NDArray[np.float64]
    duration_ns: NDArray[np.float64]
    zz_hz: NDArray[np.float64]
    sx_ns: float
    chains: tuple[Chain, ...]

    @cached_property
    def columns(self) -> tuple[NDArray[np.intp], ...]:
        """The edges of each chain as columns."""
        at = {edge: column for column, edge in enumerate(self.edges)}
        return tuple(np.array([at[edge] for edge in chain.edges], dtype=np.intp) for chain in self.chains)

    @cached_property
    def window_ns(self) -> NDArray[np.float64]:
        """The time t of each chain: float64, ``(chains,)``."""
        longest = np.array([self.duration_ns[columns].max() for columns in self.columns])
        return longest + 2 * self.sx_ns

    @cached_property
    def uncalibrated(self) -> NDArray[np.int64]:
        """How many edges of each chain have no gate error: ``(chains,)``."""
        return np.array([np.isnan(self.error[columns]).sum() for columns in self.columns], dtype=np.int64)

    def measured(self) -> NDArray[np.float64]:
        """−ln(LF) of each chain, ``(chains,)``."""
        return -np.log([chain.fidelity for chain in self.chains])

    def isolated(self) -> NDArray[np.float64]:
        """−Σ_e ln(1 − 1.25 r_e) of each chain; the device's median error where there is none."""
        filled = np.where(np.isnan(self.error), np.nanmedian(self.error), self.error)
        loss = -np.log1p(-1.25 * filled)
        return np.array([loss[columns].sum() for columns in self.columns])

    def between_gates(self, zz_hz: NDArray[np.float64]) -> NDArray[np.float64]:
        """Σ_e sin²(πζ_e t/2) of each chain.

        Args:
            zz_hz: float64, ``(..., edges)``: ζ of every coupler.

        Returns:
            float64, ``(..., chains)``.
        """
        sums = [
            (np.sin(0.5e-9 * np.pi * zz_hz[..., columns] * window_ns) ** 2).sum(axis=-1)
            for columns, window_ns in zip(self.columns, self.window_ns, strict=True)
        ]
        return np.stack(sums, axis=-1)


@dataclass(frozen=True, slots=True)
class LayerFidelities:
    """V5 in figures.

    Attributes:
        mape: mean of |predicted/measured − 1| over the chains whose every edge is calibrated.
        isolated_mape: the same without ZZ.
        permutation_p: share of permutations of ζ over each device's edges that predict at least as well, one-sided.
        everything_mape: ``mape`` with the other chains too, the device's median error on their uncalibrated edges.
        clean: chains behind ``mape``.
        everything: all chains.
    """

    mape: float
    isolated_mape: float
    permutation_p: float
    everything_mape: float
    clean: int
    everything: int


def evaluate(devices: Sequence[Published], permutations: int = PERMUTATIONS, seed: int = SEED) -> LayerFidelities:
    """Compare prediction and measurement.

    The permutation keeps each device's ζ and its chains, and only loses which coupler has which ζ. So it asks whether
    the *places* of the ZZ are right, not only their mean.
    """
    rng = np.random.default_rng(seed)
    measured = np.concatenate([device.measured() for device in devices])
    isolated = np.concatenate([device.isolated() for device in devices])
    clean = np.concatenate([device.uncalibrated == 0 for device in devices])
    ratio = (isolated + np.concatenate([device.between_gates(device.zz_hz) for device in devices])) / measured
    shuffled = np.concatenate(
        [
            device.between_gates(rng.permuted(np.tile(device.zz_hz, (permutations, 1)), axis=1))[
                :, device.uncalibrated == 0
            ]
            for device in devices
        ],
        axis=1,
    )
    mape = _mape(ratio[clean])
    by_chance = np.abs((isolated[clean] + shuffled) / measured[clean] - 1.0).mean(axis=1)
    return LayerFidelities(
        mape=mape,
        isolated_mape=_mape(isolated[clean] / measured[clean]),
        permutation_p=float((1 + np.count_nonzero(by_chance <= mape)) / (1 + permutations)),
        everything_mape=_mape(ratio),
        clean=int(clean.sum()),
        everything=len(measured),
    )


def listing(devices: Sequence[Published], *, clean: bool) -> list[str]:
    """One line a chain for people; either those of calibrated edges alone, or the others."""
    lines = [f"{'device':<11} {'N':>3} {'uncalibrated':>12} {'measured':>9} {'predicted':>9} {'isolated':>9}  −ln(LF)"]
    for device in devices:
        isolated = device.isolated()
        rows = zip(device.chains, device.uncalibrated, device.measured(), isolated, strict=True)
        for (chain, missing, measured, alone), zz in zip(rows, device.between_gates(device.zz_hz), strict=True):
            if (missing == 0) == clean:
                lines.append(
                    f"{device.name:<11} {len(chain.qubits):>3} {missing:>12} {measured:>9.3f} {alone + zz:>9.3f} "
                    f"{alone:>9.3f}"
                )
    return lines


def read_devices() -> tuple[Published, ...]:
    """All of :data:`DEVICES`, from the files that come with qiskit-ibm-runtime."""
    return tuple(read_published(name) for name in DEVICES)


def read_published(name: str) -> Published:
    """One device, e.g. ``brisbane``.

    Raises:
        ModuleNotFoundError: qiskit-ibm-runtime is not installed.
        ValueError: a coupler without ZZ, or two couplers of one name.
    """
    found = find_spec("qiskit_ibm_runtime")  # found, not imported: its files are all we need
    if found is None or found.origin is None:
        raise ModuleNotFoundError("qiskit_ibm_runtime")
    folder = Path(found.origin).parent / "fake_provider" / "backends" / name
    conf: dict[str, Any] = json.loads((folder / f"conf_{name}.json").read_text(encoding="utf-8"))
    props: dict[str, Any] = json.loads((folder / f"props_{name}.json").read_text(encoding="utf-8"))
    edges = tuple(sorted({(min(pair), max(pair)) for pair in conf["coupling_map"]}))
    error, duration_ns, sx_ns = _gates(props["gates"], edges)
    return Published(name, edges, error, duration_ns, _zz(props["general"], edges), sx_ns, _chains(props))


def _chains(props: Mapping[str, Any]) -> tuple[Chain, ...]:
    fidelity = {row["name"]: row["value"] for row in props["general"] if row["name"].startswith("lf_")}
    qubits = {row["name"]: tuple(row["qubits"]) for row in props["general_qlists"]}
    return tuple(Chain(qubits[f"lf_{n}"], fidelity[f"lf_{n}"]) for n in LENGTHS if f"lf_{n}" in qubits)


def _gates(
    rows: Sequence[Mapping[str, Any]], edges: tuple[Edge, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Error and duration of the two-qubit gate of each edge, and the longest sx."""
    at = {edge: column for column, edge in enumerate(edges)}
    error, duration_ns = np.full(len(edges), np.nan), np.zeros(len(edges))
    sx_ns = 0.0
    for row in rows:
        numbers = {p["name"]: p["value"] * _NS.get(p["unit"], 1.0) for p in row["parameters"]}
        if len(row["qubits"]) == 2:
            column = at[min(row["qubits"]), max(row["qubits"])]
            duration_ns[column] = numbers.get("gate_length", 0.0)
            error[column] = numbers.get("gate_error", np.nan)
        elif row["gate"] == "sx":
            sx_ns = max(sx_ns, numbers["gate_length"])
    return np.where(error <= UNCALIBRATED, error, np.nan), duration_ns, sx_ns


def _zz(rows: Sequence[Mapping[str, Any]], edges: tuple[Edge, ...]) -> NDArray[np.float64]:
    """ζ in Hz of each edge. Entries are named ``zz_<a><b>`` without a separator: only names of couplers are read."""
    column_of = {f"zz_{a}{b}": column for column, pair in enumerate(edges) for a, b in (pair, pair[::-1])}
    zz_hz = np.full(len(edges), np.nan)
    for row in rows:
        if row["name"] in column_of:
            zz_hz[column_of[row["name"]]] = row["value"] * _HZ[row["unit"]]
    if len(column_of) != 2 * len(edges) or np.isnan(zz_hz).any():
        raise ValueError("a coupler has no ζ, or shares its name with another")
    return zz_hz


def _mape(ratio: NDArray[np.float64]) -> float:
    return float(np.abs(ratio - 1.0).mean())


def draw(devices: Sequence[Published], path: Path) -> None:
    """Predicted against measured −ln(LF), with and without ZZ, as a PNG."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow, and only the plot needs it

    figure = Figure(figsize=(7.2, 5.4), layout="compressed")
    axes = figure.subplots()
    span = np.array([0.065, 4.6])
    axes.fill_between(span, 0.88 * span, 1.12 * span, color="0.9", lw=0, label="within 12 %")
    axes.plot(span, span, color="0.5", lw=0.8)
    for device, colour in zip(devices, _COLOURS, strict=True):
        measured, isolated = device.measured(), device.isolated()
        predicted = isolated + device.between_gates(device.zz_hz)
        clean = device.uncalibrated == 0
        axes.plot(measured[clean], predicted[clean], "o", ms=5.5, color=colour, label=device.name)
        axes.plot(measured[~clean], predicted[~clean], "o", ms=5.5, mfc="none", mec=colour)
        axes.plot(measured[clean], isolated[clean], "x", ms=4.5, mew=0.9, color=colour, alpha=0.7)
    axes.plot([], [], "o", ms=5.5, mfc="none", mec="0.3", label="uncalibrated edge")
    axes.plot([], [], "x", ms=4.5, mew=0.9, color="0.3", label="isolated errors alone")
    axes.set(xscale="log", yscale="log", xlim=span, ylim=span, aspect="equal")
    ticks = [0.1, 0.2, 0.5, 1, 2, 4]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("measured  −ln(layer fidelity)")
    axes.set_ylabel("predicted, nothing fitted")
    axes.set_title("Chains of 10 to 100 qubits on seven Eagle devices", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Print every chain, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", type=Path, help="PNG to write")
    arguments = parser.parse_args()
    devices = read_devices()
    print("\n".join(listing(devices, clean=True)))
    print("\nChains with an uncalibrated edge, the device's median error there:")
    print("\n".join(listing(devices, clean=False)[1:]))
    print(f"\n{evaluate(devices)}")
    if arguments.plot:
        draw(devices, arguments.plot)


if __name__ == "__main__":
    main()
