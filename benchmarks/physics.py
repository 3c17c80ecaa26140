"""Validation of the device physics: V0 … V6 of the specification, one function each, and the time of a full batch.

    python benchmarks/physics.py --json                    all; v5b takes minutes
    python benchmarks/physics.py --json --only v2 v5       some

What each figure means and must be is in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import full_chip
import numpy as np
from channel_checks import twirled_within_error, window_error
from crosstalk_pairs import ZZ_HZ
from identity import counts_identical
from layer_circuits import ratios
from layer_fidelity import evaluate, listing, read_devices, read_published
from region_checks import (
    V4_BOUND,
    co_tenants_never_help,
    pairs_against_density_matrix,
    tenants_against_matrix_product,
)
from report import report

from qpu_backend.engines.catalogue import read_device

if TYPE_CHECKING:
    from collections.abc import Callable

Figures = dict[str, float | bool]


def v0() -> Figures:
    """Crosstalk off: the same counts, shot by shot, as a reference that shares no code with the service."""
    return {"v0_identical": counts_identical()}


def v1() -> Figures:
    """One window of ZZ as a superoperator, against the formula; must be ≤ 1e-10."""
    return {"v1_max_error": window_error()}


def v2() -> Figures:
    """108 pairs of circuits against the exact joint density matrix at 36 kHz."""
    distances = pairs_against_density_matrix(ZZ_HZ)
    tvd = distances.with_context
    print(f"  {len(tvd)} pairs: TVD largest {tvd.max():.4f}; ignoring crosstalk: mean {distances.ignored.mean():.4f}")
    return {
        "v2_mean_tvd": float(tvd.mean()),
        "v2_p95_tvd": float(np.percentile(tvd, 95)),
        "v2_ignore_ratio": distances.ratio,
    }


def v3() -> Figures:
    """Both sides twirled, against formula (b)."""
    return {"v3_within_mc": twirled_within_error()}


def v4() -> Figures:
    """60 qubits full of tenants against a joint matrix product."""
    distances, shot_noise = tenants_against_matrix_product()
    tvd, bound = distances.with_context, V4_BOUND + shot_noise
    print(
        f"  {len(tvd)} marginals: TVD largest {tvd.max():.4f}, shot noise alone {shot_noise:.4f}; "
        f"ignoring crosstalk: mean {distances.ignored.mean():.4f}; bound {bound:.4f}"
    )
    return {"v4_mean_tvd": float(tvd.mean()), "v4_ignore_fails": bool(distances.ignored.mean() > bound)}


def v5() -> Figures:
    """Measured layer fidelities of seven devices against isolated errors plus ZZ."""
    devices = read_devices()
    found = evaluate(devices)
    print(f"  {found.clean} of {found.everything} chains have every edge calibrated; all: {found.everything_mape:.4f}")
    print("\n".join(f"  {line}" for line in listing(devices, clean=False)))
    return {
        "v5_mape": found.mape,
        "v5_isolated_mape": found.isolated_mape,
        "v5_permutation_p": found.permutation_p,
    }


def v5b() -> Figures:
    """The chains of one of them, run through the simulation of ``eagle127``, everything on.

    Which pairs of gates are C1's outliers is invented for the model, and a chain that was chosen for its layer fidelity
    avoids those of the real device; so the same is printed without C1 too.
    """
    model, snapshot = read_device("eagle127")
    chains = read_published("brisbane").chains
    measured_alone = replace(model.crosstalk, conditional=replace(model.crosstalk.conditional, enabled=False))
    everything, without = (ratios(crosstalk, snapshot, chains) for crosstalk in (model.crosstalk, measured_alone))
    for chain, one, other in zip(chains, everything, without, strict=True):
        print(f"  {len(chain.qubits):>3} qubits: simulated / measured {one:.3f}, without C1 {other:.3f}")
    print(f"  without C1: {np.abs(without - 1.0).mean():.4f}")
    return {"v5b_mape": float(np.abs(everything - 1.0).mean())}


def v6() -> Figures:
    """One co-tenant more never lowers the predicted error."""
    return {"v6_holds": co_tenants_never_help()}


def batch() -> Figures:
    """Sixteen tenants of five qubits fill a chip, as the service runs them, with cold caches."""
    found = full_chip.measure()
    print("  " + ", ".join(f"{name} {value:.3g}" for name, value in found.items()))
    return {"batch16_s": found["batch16_s"]}


CHECKS: Final[dict[str, Callable[[], Figures]]] = {
    check.__name__: check for check in (v0, v1, v2, v3, v4, v5, v5b, v6, batch)
}


def main() -> None:
    """Run the checks that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--only", nargs="+", choices=list(CHECKS), default=list(CHECKS), metavar="CHECK", help=", ".join(CHECKS)
    )
    arguments = parser.parse_args()
    figures: Figures = {}
    for name in arguments.only:
        print(f"{name}: {(CHECKS[name].__doc__ or '').splitlines()[0]}", flush=True)
        start = time.perf_counter()
        figures |= CHECKS[name]()
        print(f"  {time.perf_counter() - start:.1f} s", flush=True)
    report(figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
