"""How far ghosts are from the exact joint density matrix, by the strength of the ZZ: V2 at four strengths.

    python benchmarks/ghost_error.py --plot docs/_static/physics/ghosts.png

Each point is one of V2's 108 pairs of circuits: how wrong the victim's distribution is when the neighbour is ignored,
and how wrong it is with the neighbour as ghosts. On the diagonal a ghost would be worth nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from region_checks import pairs_against_density_matrix

if TYPE_CHECKING:
    from collections.abc import Mapping

    from region_checks import Distances

STRENGTHS_HZ: Final = (3.9e3, 36e3, 60e3, 100e3)
_COLOURS: Final = ("#6cc5b0", "#4269d0", "#efb118", "#ff725c")
_LEAST: Final = 1e-6
"""Distances below this are drawn there."""


def table(found: Mapping[float, Distances]) -> str:
    """Mean and 95th percentile of the total-variation distance, a line for each strength."""
    lines = [f"{'ζ·η':>8}  {'ignored':>15}  {'ghosts':>15}  ratio"]
    for zz_hz, distances in found.items():
        columns = (
            f"{tvd.mean():.4f} / {np.percentile(tvd, 95):.4f}" for tvd in (distances.ignored, distances.with_context)
        )
        lines.append(f"{zz_hz / 1e3:>4.1f} kHz  {'  '.join(columns)}  {distances.ratio:5.1f}")
    return "\n".join(lines)


def draw(found: Mapping[float, Distances], path: Path) -> None:
    """Ignored against ghosts, as a PNG."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow, and only the plot needs it

    figure = Figure(figsize=(6.4, 5.0), layout="compressed")
    axes = figure.subplots()
    span = np.array([_LEAST, 1.0])
    axes.plot(span, span, color="0.4", lw=0.8, label="worth nothing")
    axes.plot(span, 0.1 * span, color="0.6", lw=0.8, ls=":", label="ten times better")
    for (zz_hz, distances), colour in zip(found.items(), _COLOURS, strict=True):
        x, y = (np.maximum(tvd, _LEAST) for tvd in (distances.ignored, distances.with_context))
        axes.plot(x, y, "o", ms=4, mew=0, alpha=0.7, color=colour, label=f"{zz_hz / 1e3:g} kHz")
    axes.axhline(0.01, color="0.8", lw=0.8, zorder=0)
    axes.set(xscale="log", yscale="log", xlim=(1e-4, 1.0), ylim=(_LEAST, 1.0))
    axes.set_xlabel("TVD from the exact distribution, neighbour ignored")
    axes.set_ylabel("TVD with the neighbour as ghosts")
    axes.set_title("108 pairs of circuits of 3 + 3 qubits, ten layers", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Print the table, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", type=Path, help="PNG to write")
    arguments = parser.parse_args()
    found = {zz_hz: pairs_against_density_matrix(zz_hz) for zz_hz in STRENGTHS_HZ}
    print(table(found))
    if arguments.plot:
        draw(found, arguments.plot)


if __name__ == "__main__":
    main()
