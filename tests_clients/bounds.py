"""How far a measured figure may be from its value without noise: what the calibration predicts, and chance.

With probability ``1 − loss`` a shot comes out as it would without noise, whatever it does otherwise. So noise changes a
probability by ``loss`` at most and the mean of an observable between −1 and 1 by ``2 · loss``. Chance adds ``SIGMAS``
standard deviations.
"""

from __future__ import annotations

import math

SIGMAS = 5
"""Of chance: a fixed seed makes runs repeat, and this makes the choice of the seed unimportant."""


def loss(backend, circuit):
    """Probability that noise has changed a shot, as the service predicts it; what is used is measured if nothing is."""
    if "measure" not in circuit.count_ops():
        circuit = circuit.measure_active(inplace=False)
    return 1 - backend.predict_success(circuit)[0].success


def of_share(shots, share=0.5):
    """By chance, of the share of shots that came out in one way."""
    return SIGMAS * math.sqrt(max(share * (1 - share), 1 / shots) / shots)


def of_mean(shots):
    """By chance, of the mean of an observable of values −1 and 1."""
    return SIGMAS / math.sqrt(shots)


def distance(counts, probabilities):
    """Total variation distance between counts and probabilities (or other counts), by bit string."""
    shots, total = sum(counts.values()), sum(probabilities.values())
    outcomes = counts.keys() | probabilities.keys()
    return sum(abs(counts.get(one, 0) / shots - probabilities.get(one, 0) / total) for one in outcomes) / 2


def of_distance(shots, outcomes):
    """By chance, of the distance between counts and the probabilities they were drawn from.

    Its mean is at most ``√(outcomes / shots) / 2`` (Cauchy and Schwarz), its deviation at most ``1 / √(4 · shots)``
    (McDiarmid).
    """
    return math.sqrt(outcomes / shots) / 2 + SIGMAS / math.sqrt(4 * shots)
