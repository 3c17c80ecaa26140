"""Plots of results say what was measured: heights, errors, points, and the service's own extrapolation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from qiskit import QuantumCircuit
from qiskit.circuit.library import iqp
from qiskit.primitives import BitArray, DataBin, PrimitiveResult, PubResult, SamplerPubResult
from qiskit.quantum_info import Statevector
from qiskit.result import Result
from qiskit.result.models import ExperimentResult, ExperimentResultData

from qpu_backend.domain.extrapolation import DEGREES, extrapolate
from qpu_sdk import plot_counts, plot_expectations, plot_iq, plot_zne
from qpu_sdk.display.ideal import probabilities_of
from qpu_sdk.display.plots import curve_through
from qpu_sdk.errors import InvalidRequestError
from qpu_sdk.readout import Discriminator

LINE = Discriminator(axis=1 + 0j, threshold=0.5, centre_0=0j, centre_1=1 + 0j, sigma=0.1)


def estimated(evs, stds, **zne) -> PrimitiveResult:
    told = {"resilience": {"zne": {name: value for name, value in zne.items() if name != "factors"}}} if zne else {}
    execution = {"mitigation": {"zne": {"noise_factors": zne["factors"]}}} if zne else {}
    data = DataBin(evs=np.array(evs), stds=np.array(stds), shape=np.shape(evs))
    return PrimitiveResult([PubResult(data, metadata=told)], metadata={"execution": execution})


def points_of(points) -> Result:
    memory = [[[point.real, point.imag]] for point in points]
    one = ExperimentResult(shots=len(points), success=True, data=ExperimentResultData(memory=memory), meas_level=1)
    return Result(results=[one], success=True)


def heights(figure) -> dict[str, float]:
    axes = figure.axes[0]
    return {
        label.get_text(): bar.get_height() for label, bar in zip(axes.get_xticklabels(), axes.patches, strict=False)
    }


def line_of(figure, label):
    (line,) = [line for line in figure.axes[0].lines if line.get_label() == label]
    return line


# --- counts -------------------------------------------------------------------------------------------------------


def test_bars_are_frequencies_with_the_ideal_beside_them():
    bell = QuantumCircuit(2, 2)
    bell.h(0)
    bell.cx(0, 1)
    bell.measure([0, 1], [0, 1])
    figure = plot_counts({"00": 40, "11": 50, "01": 10}, bell)
    assert heights(figure) == pytest.approx({"00": 0.4, "01": 0.1, "11": 0.5})
    assert line_of(figure, "ideal").get_ydata() == pytest.approx([0.5, math.nan, 0.5], nan_ok=True)
    assert "0.100" in figure.axes[0].get_title()
    (bars,) = [each for each in figure.axes[0].containers if hasattr(each, "has_yerr")]
    spans = [segment[1][1] - segment[0][1] for segment in bars.lines[2][0].get_segments()]
    assert spans == pytest.approx([2 * math.sqrt(p * (1 - p) / 100) for p in (0.4, 0.1, 0.5)])


def test_rare_outcomes_share_a_bar_and_nothing_is_lost():
    counts = {f"{n:05b}": 10 + n for n in range(32)}
    found = heights(plot_counts(counts, most=5))
    assert len(found) == 6
    assert sum(found.values()) == pytest.approx(1.0)
    assert set(found) == {"11011", "11100", "11101", "11110", "11111", "27 others"}


def test_registers_are_joined_and_a_binding_is_chosen():
    bits = BitArray.from_counts([{"01": 3, "10": 1}, {"11": 4}])
    result = PrimitiveResult([SamplerPubResult(DataBin(c=bits, shape=(2,)))])
    assert heights(plot_counts(result)) == pytest.approx({"01": 3 / 8, "10": 1 / 8, "11": 4 / 8})
    assert heights(plot_counts(result, binding=1)) == {"11": 1.0}


def test_a_result_of_run_is_drawn_too(bell_job):
    counts = bell_job.result()[0].data.meas.get_counts()
    assert heights(bell_job.plot()) == pytest.approx({key: value / 200 for key, value in counts.items()})


def test_the_ideal_of_a_circuit_is_its_state_whatever_the_order_of_bits_and_idle_qubits():
    rng = np.random.default_rng(7)
    small = iqp(np.array([[6, 5, 3], [5, 4, 5], [3, 5, 1]]))
    wide = QuantumCircuit(40, 3)
    wide.compose(small, qubits=[30, 2, 17], inplace=True)
    order = rng.permutation(3).tolist()
    for slot, local in enumerate(order):
        wide.measure([30, 2, 17][local], slot)
    expected = {
        "".join(reversed([key[::-1][local] for local in order])): probability
        for key, probability in Statevector(small).probabilities_dict().items()
        if probability > 1e-12
    }
    assert probabilities_of(wide) == pytest.approx(expected)


def test_what_has_no_ideal_or_no_counts_is_refused():
    again = QuantumCircuit(1, 1)
    again.measure(0, 0)
    again.x(0)
    for wrong in (again, {}, {"0": -1}):
        with pytest.raises(InvalidRequestError):
            plot_counts({"0": 1}, wrong)
    wide = QuantumCircuit(17, 17)
    wide.h(range(17))
    wide.measure(range(17), range(17))
    with pytest.raises(InvalidRequestError, match="17 qubits"):
        plot_counts({"0": 1}, wide)
    with pytest.raises(InvalidRequestError, match="plot_expectations"):
        plot_counts(estimated([1.0], [0.1]))


# --- expectation values -------------------------------------------------------------------------------------------


def test_values_have_a_standard_error_either_way():
    figure = plot_expectations(estimated([[0.5, -0.2]], [[0.1, 0.3]]), [1, 0], labels=["XX", "ZZ"])
    (bars,) = figure.axes[0].containers
    assert bars.lines[0].get_ydata() == pytest.approx([0.5, -0.2])
    ends = [(segment[0][1], segment[1][1]) for segment in bars.lines[2][0].get_segments()]
    assert ends == [pytest.approx((0.4, 0.6)), pytest.approx((-0.5, 0.1))]
    assert line_of(figure, "ideal").get_ydata() == pytest.approx([1, 0])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["XX", "ZZ"]
    with pytest.raises(InvalidRequestError, match="ideal has 3"):
        plot_expectations(estimated([0.5], [0.1]), [1, 2, 3])


# --- IQ points ----------------------------------------------------------------------------------------------------


def test_points_are_told_apart_by_the_discriminator():
    points = [0.1 + 0.2j, 0.4 - 0.1j, 0.9 + 0j]
    figure = plot_iq(points_of(points), LINE)
    clouds = {mark.get_label(): mark.get_offsets().tolist() for mark in figure.axes[0].collections}
    assert clouds == {"reads 0: 2": [[0.1, 0.2], [0.4, -0.1]], "reads 1: 1": [[0.9, 0.0]]}
    assert line_of(figure, "discriminator").get_xdata() == pytest.approx([0.5, 0.5])
    assert {"|0⟩", "|1⟩"} <= {text.get_text() for text in figure.axes[0].texts}
    with pytest.raises(InvalidRequestError, match="meas_level=1"):
        plot_iq(points_of(points), LINE, slot=1)


# --- extrapolation ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("curve", [*DEGREES, "exponential"])
def test_the_curve_is_the_one_that_the_service_chose(curve):
    rng = np.random.default_rng(3)
    levels = np.array([1.0, 3.0, 5.0, 7.0, 9.0])
    values = 0.9 * np.exp(-0.15 * levels) + rng.normal(0, 0.01, 5)
    stds = rng.uniform(0.005, 0.02, 5)
    found = extrapolate(levels.tolist(), values[:, None], stds[:, None], curve)
    assert found.curves == (curve,)

    def misfit(answer):
        drawn = curve_through(levels, values, stds, answer, curve, levels)
        return float((((drawn - values) / stds) ** 2).sum())

    best = misfit(float(found.values[0]))
    tolerance = 1e-9 if curve in DEGREES else 5e-2  # the drawn exponential is fitted by its logarithm
    assert all(best <= misfit(float(found.values[0]) + shift) + tolerance for shift in (-0.01, -0.001, 0.001, 0.01))


def test_estimates_curve_and_answer_are_drawn():
    factors = [1, 3, 5]
    zne = {"factors": factors, "evs_noise_factors": np.array([[0.8, 0.6, 0.4]]), "extrapolator": np.array(["linear"])}
    zne["stds_noise_factors"] = np.array([[0.01, 0.01, 0.02]])
    figure = plot_zne(estimated([0.9], [0.03], **zne), ideal=1.0)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "at no noise: 0.900 ± 0.030" in labels
    drawn = line_of(figure, "linear")
    assert np.interp([0, 1, 3, 5], drawn.get_xdata(), drawn.get_ydata()) == pytest.approx([0.9, 0.8, 0.6, 0.4])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["0", "1", "3", "5"]
    with pytest.raises(InvalidRequestError, match="zne_mitigation"):
        plot_zne(estimated([0.9], [0.03]))


def test_a_notebook_shows_a_figure_without_being_told_how():
    shown, _ = DisplayFormatter().format(plot_counts({"0": 3, "1": 1}))
    assert shown["image/png"].startswith(b"\x89PNG")


def test_every_plot_has_a_dark_twin_and_a_file(tmp_path):
    papers = set()
    for number, (draw, dark) in enumerate(
        itertools.product(
            (
                lambda **how: plot_counts({"0": 3, "1": 1}, **how),
                lambda **how: plot_expectations(estimated([0.5], [0.1]), **how),
                lambda **how: plot_iq(points_of([0j, 1 + 0j]), LINE, **how),
            ),
            (False, True),
        )
    ):
        path = tmp_path / f"{number}.png"
        papers.add((dark, draw(path=path, dark=dark).get_facecolor()))
        assert path.stat().st_size > 3000
    assert len(papers) == 2
