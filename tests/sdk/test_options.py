"""Options are checked the moment they are set, and are mappings."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit.result.models import MeasLevel, MeasReturnType

from qpu_sdk.errors import InvalidRequestError
from qpu_sdk.options import EstimatorOptions, RunOptions, SamplerOptions
from qpu_sdk.wire.models import Isolation


def test_options_are_a_mapping():
    options = SamplerOptions(default_shots=10)
    assert dict(options)["default_shots"] == 10
    assert set(options) == SamplerOptions.names()
    assert len(options) == len(dict(options))
    with pytest.raises(KeyError):
        options["nothing"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shots", 0),
        ("shots", 1.5),
        ("shots", True),
        ("seed_simulator", -1),
        ("seed_simulator", 2**63),
        ("rep_delay", float("nan")),
        ("rep_delay", -1),
        ("isolation", "alone"),
        ("drift_policy", "ignore"),
        ("job_tags", ["x"] * 17),
        ("job_tags", "word"),
        ("idempotency_key", "two\nlines"),
        ("meas_return", "sum"),
    ],
)
def test_a_value_outside_its_meaning_is_refused_with_the_meaning(name, value):
    with pytest.raises(InvalidRequestError, match=name) as caught:
        RunOptions(**{name: value})
    assert caught.value.field == name


def test_raw_signals_are_refused_with_what_there_is_instead():
    with pytest.raises(InvalidRequestError, match=r"classified bits.*IQ points"):
        RunOptions(meas_level=0)


def test_the_service_is_told_of_points_only_where_they_are_asked_for():
    bits = RunOptions(meas_return="avg").wire()
    assert (bits.meas_level, bits.meas_return) == (2, "single")
    points = RunOptions(meas_level=MeasLevel.KERNELED, meas_return=MeasReturnType.AVERAGE).wire(memory=True)
    assert (points.meas_level, points.meas_return, points.memory) == (1, "avg", True)
    assert type(points.meas_return) is str


def test_an_unknown_option_names_those_there_are():
    with pytest.raises(InvalidRequestError, match="default_precision"):
        EstimatorOptions.coerce({"default_shots": 3})


def test_coercing_copies():
    mine = SamplerOptions(default_shots=5)
    theirs = SamplerOptions.coerce(mine)
    theirs.default_shots = 6
    assert mine.default_shots == 5


def test_numpy_integers_are_integers():
    assert RunOptions(shots=np.int64(5)).shots == 5


def test_units_are_converted_for_the_wire():
    wire = RunOptions(rep_delay=250e-6, seed_simulator=7, isolation="exclusive").wire(memory=True)
    assert wire.rep_delay_us == pytest.approx(250)
    assert (wire.seed, wire.memory, wire.isolation) == (7, True, Isolation.EXCLUSIVE)
