"""V1 … V6: the bounds of the specification; none may be loosened."""

from __future__ import annotations

from dataclasses import replace

import layer_circuits
import numpy as np
import physics
import pytest
import region_checks
from layer_fidelity import read_published

from qpu_backend.engines.catalogue import read_device


def test_v1_one_window_of_zz_is_the_formula():
    assert physics.v1()["v1_max_error"] <= 1e-10


def test_v2_a_region_with_ghosts_is_close_to_the_density_matrix_of_both():
    found = physics.v2()
    assert found["v2_mean_tvd"] <= 0.003
    assert found["v2_p95_tvd"] <= 0.010
    assert found["v2_ignore_ratio"] >= 10


def test_v3_twirled_windows_are_phase_flips():
    assert physics.v3()["v3_within_mc"]


@pytest.mark.slow
def test_v4_sixty_qubits_of_tenants_agree_with_a_matrix_product():
    distances, shot_noise = region_checks.tenants_against_matrix_product()
    assert distances.with_context.mean() <= region_checks.V4_BOUND + shot_noise
    assert distances.ignored.mean() > region_checks.V4_BOUND + shot_noise


@pytest.mark.slow
def test_v5b_chains_through_the_simulation_lose_what_was_measured():
    """Without C1, whose outlying pairs are invented for the model."""
    model, snapshot = read_device("eagle127")
    crosstalk = replace(model.crosstalk, conditional=replace(model.crosstalk.conditional, enabled=False))
    ratios = layer_circuits.ratios(crosstalk, snapshot, read_published("brisbane").chains)
    assert np.abs(ratios - 1.0).mean() <= 0.20


def test_v6_a_co_tenant_never_helps():
    assert physics.v6()["v6_holds"]
