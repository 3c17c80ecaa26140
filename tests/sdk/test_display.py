"""The device map shows every qubit once, in its place, in the order of its error, with regions; in figures and text."""

from __future__ import annotations

import itertools

import pytest
from rich.console import Console

from qpu_sdk.display.chip import edge_errors, share, span
from qpu_sdk.display.colours import DARK, LIGHT, REGIONS, luminance, ramp
from qpu_sdk.display.maps import draw_crosstalk, draw_device, draw_job
from qpu_sdk.display.text import crosstalk_text, device_text, job_text
from qpu_sdk.errors import InvalidRequestError, JobNotDoneError
from qpu_sdk.layout import qubit_positions
from qpu_sdk.wire.crosstalk import CouplerZZ, CrosstalkDocument, SimultaneousGates
from qpu_sdk.wire.usage import MeteringRecord

REGIONS_DRAWN = {"alice": [0, 1, 2], "bob": [32, 31, 30]}


@pytest.fixture(scope="module")
def uneven(eagle):
    """The chip with errors that all differ: qubit and coupler number n is worse than number n − 1."""
    qubits = [
        seen.model_copy(update={"readout_error": 0.005 * 1.02**q, "t1_us": 300 - q, "t2_us": 200 - q})
        for q, seen in enumerate(eagle.qubits)
    ]
    number = itertools.count()
    gates = [
        gate if len(gate.qubits) == 1 else gate.model_copy(update={"error": 0.003 * 1.02 ** next(number)})
        for gate in eagle.gates
    ]
    return eagle.model_copy(update={"qubits": qubits, "gates": gates})


@pytest.fixture(scope="module")
def crosstalk(eagle):
    """ZZ that grows with the number of the coupler, and one pair of couplers that disturb each other."""
    edges = sorted(edge_errors(eagle))
    return CrosstalkDocument(
        name=eagle.name,
        device=eagle.name,
        calibration_id="cal_1",
        calibrated_at=eagle.calibrated_at,
        zz=[CouplerZZ(qubits=edge, zz_hz=-1000.0 * (1 + number)) for number, edge in enumerate(edges)],
        simultaneous=[SimultaneousGates(couplers=((24, 25), (26, 27)), ratio=3.5)],
        ordinary_ratio=1.0,
        readout_groups=[[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]],
    )


def metering(**changes):
    facts = {
        "job_id": "job_1",
        "state": "done",
        "shots": 10,
        "device_us": 1,
        "footprint_qubits": 3,
        "price_book": "p",
        "price_micro": 1,
        "simulator_cpu_us": 1,
        "result_bytes": 1,
        "placement": [32, 31, 30],
        "co_tenants": "1-3",
        "crosstalk_loss": 0.0,
        "calibration_id": "cal_1",
        "seed": 1,
        "started_at": None,
        "finished_at": None,
    }
    return MeteringRecord.model_validate(facts | changes)


def qubits_of(figure):
    (marks,) = [marks for marks in figure.axes[0].collections if marks.get_gid() == "qubits"]
    return marks


def fills(figure) -> dict[int, tuple[float, ...]]:
    """Colour of each qubit of a drawing."""
    return {qubit: tuple(colour[:3]) for qubit, colour in enumerate(qubits_of(figure).get_facecolor())}


def rings(figure) -> dict[int, tuple[float, ...]]:
    """Colour of the ring of each qubit that has one."""
    marks = qubits_of(figure)
    widths, colours = marks.get_linewidth(), marks.get_edgecolor()
    return {qubit: tuple(colours[qubit][:3]) for qubit in range(len(colours)) if widths[qubit] > 2}


def lightness(colour) -> float:
    return luminance("#" + "".join(f"{round(255 * channel):02x}" for channel in colour))


# --- where qubits lie ---------------------------------------------------------------------------------------------


def test_the_heavy_hex_chip_lies_in_rows_with_connectors(eagle):
    places = qubit_positions(eagle.num_qubits, list(edge_errors(eagle)))
    rows = [sorted(q for q, (_, y) in places.items() if y == row) for row in range(13)]
    assert [len(row) for row in rows] == [14, 4, 15, 4, 15, 4, 15, 4, 15, 4, 15, 4, 14]
    assert rows[0] == list(range(14))
    assert places[14][0] == places[0][0] == places[18][0]
    assert len(set(places.values())) == 127


def test_neighbours_lie_next_to_each_other(eagle):
    edges = list(edge_errors(eagle))
    places = qubit_positions(eagle.num_qubits, edges)
    assert all(abs(places[a][0] - places[b][0]) + abs(places[a][1] - places[b][1]) == 1 for a, b in edges)


@pytest.mark.parametrize("gone", [{5}, {20, 21, 22}, {13}, {15}, {13, 45, 87, 88}])
def test_qubits_without_edges_stay_where_they_are_on_the_chip(eagle, gone):
    edges = list(edge_errors(eagle))
    whole = qubit_positions(eagle.num_qubits, edges)
    places = qubit_positions(eagle.num_qubits, [edge for edge in edges if not gone & set(edge)])
    assert places == whole


@pytest.mark.parametrize("size", [3, 4, 12, 30])
def test_a_ring_has_a_place_for_each(size):
    edges = [(q, (q + 1) % size) for q in range(size)]
    places = qubit_positions(size, edges)
    assert len(set(places.values())) == size
    if size in {4, 12}:  # of an even number the sides meet on a grid
        assert all(abs(places[a][0] - places[b][0]) + abs(places[a][1] - places[b][1]) == 1 for a, b in edges)


def test_a_tee_is_drawn_straight():
    places = qubit_positions(6, [(0, 1), (1, 2), (0, 3), (3, 4), (0, 5)])
    assert [places[q][1] for q in (4, 3, 0, 1, 2)] == [0] * 5
    assert [places[q][0] for q in (4, 3, 0, 1, 2)] == [0, 1, 2, 3, 4]
    assert places[5] == (2, 1)


# --- colours ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stops", [LIGHT.qubits, LIGHT.edges, DARK.qubits, DARK.edges])
def test_scales_are_even_in_lightness_and_stand_out_from_the_paper_where_it_is_worse(stops):
    steps = [luminance(ramp(stops, step / 40)) for step in range(41)]
    order = 1 if steps[-1] > steps[0] else -1
    assert all(order * after > order * before for before, after in itertools.pairwise(steps))
    paper = luminance((LIGHT if stops in {LIGHT.qubits, LIGHT.edges} else DARK).paper)
    assert abs(steps[-1] - paper) > abs(steps[0] - paper)
    assert all((max(step, paper) + 0.05) / (min(step, paper) + 0.05) > 1.3 for step in steps)


def test_regions_have_colours_of_their_own():
    assert len(set(REGIONS)) == len(REGIONS) == 8


def test_nearly_equal_numbers_look_nearly_equal():
    limits = span([0.0100, 0.0101])
    assert abs(share(0.0101, limits) - share(0.0100, limits)) < 0.02
    assert share(0.0100, span([0.01, 0.1])) == 0.0
    assert span([0.01, 1.0, 0.1], below=1.0) == (0.01, 0.1)  # a gate that failed does not stretch the scale


# --- figures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("qubits", ["readout_error", "t1_us", "t2_us"])
def test_a_worse_qubit_is_darker_on_white_and_brighter_on_black(uneven, qubits, dark):
    colours = fills(draw_device(uneven, qubits=qubits, dark=dark))
    assert sorted(colours) == list(range(127))
    light = [lightness(colours[q]) for q in range(127)]
    order = 1 if dark else -1
    assert all(order * (worse - better) > -1e-3 for better, worse in itertools.pairwise(light))  # 1e-3: 256 steps
    assert abs(light[-1] - light[0]) > 0.2


def test_the_legend_says_the_quantity_in_its_unit_and_its_ends(uneven):
    figure = draw_device(uneven, qubits="t1_us")
    labels = {axes.get_ylabel() for axes in figure.axes}
    assert {"T1 (µs)", "two-qubit gate error"} <= labels
    (scale,) = [axes for axes in figure.axes if axes.get_ylabel() == "T1 (µs)"]
    middle = (174 * 300) ** 0.5  # the least spread that a scale has is a factor of four
    assert scale.get_ylim() == pytest.approx((middle / 2, middle * 2))


def test_a_region_has_a_ring_and_nobody_else(eagle, tmp_path):
    path = tmp_path / "device.png"
    found = rings(draw_device(eagle, REGIONS_DRAWN, path))
    assert set(found) == {0, 1, 2, 30, 31, 32}
    assert found[0] == found[1] != found[30] == found[31]
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 10_000


def test_a_job_is_drawn_where_its_record_says_and_its_neighbours_are_a_number(eagle):
    figure = draw_job(eagle, metering())
    assert set(rings(figure)) == {30, 31, 32}
    assert "1 to 3 other jobs" in figure.get_suptitle()
    assert "32, 31, 30" in figure.axes[0].get_legend().get_texts()[0].get_text()
    with pytest.raises(JobNotDoneError, match="no qubits yet"):
        draw_job(eagle, metering(placement=None, state="queued"))


def test_an_unusable_qubit_is_drawn_empty_and_explained(broken_line):
    figure = draw_device(broken_line)
    assert sorted(fills(figure)) == [0, 1, 2, 3, 4]
    assert fills(figure)[4] == (1.0, 1.0, 1.0)
    assert "not usable" in {text.get_text() for text in figure.axes[0].get_legend().get_texts()}


def test_crosstalk_is_drawn_in_khz_with_its_pairs(eagle, crosstalk):
    figure = draw_crosstalk(eagle, crosstalk)
    (axes, scale) = figure.axes
    assert scale.get_ylabel() == "static ZZ |ζ| (kHz)"
    assert scale.get_ylim() == pytest.approx((1, len(crosstalk.zz)))
    assert [line.get_gid() for line in axes.lines if line.get_gid()] == ["pair-24.25-26.27"]
    assert "×3.5" in {text.get_text() for text in axes.texts}
    with pytest.raises(InvalidRequestError, match="is not"):
        draw_crosstalk(eagle, crosstalk.model_copy(update={"name": "another"}))


# --- text ---------------------------------------------------------------------------------------------------------


def test_the_text_names_every_qubit_and_marks_regions(eagle):
    picture = device_text(eagle, REGIONS_DRAWN)
    words = str(picture).replace("─", " ").split()
    assert {str(qubit) for qubit in range(3, 30)} <= set(words)
    assert {"0A", "1A", "2A", "30B", "31B", "32B"} <= set(words)
    assert "A alice" in str(picture)
    assert max(len(text) for text in str(picture).splitlines()) <= 80


def test_a_tile_of_the_text_is_brighter_the_worse_the_qubit(uneven):
    console = Console(width=100, color_system="truecolor", force_terminal=True)
    tiles = {
        int(segment.text): segment.style.bgcolor.triplet.hex
        for segment in console.render(device_text(uneven))
        if segment.text.strip().isdigit() and segment.style and segment.style.bgcolor
    }
    assert sorted(tiles) == list(range(127))
    light = [luminance(tiles[q]) for q in range(127)]
    assert light == sorted(light)


def test_the_text_of_a_job_and_of_crosstalk_tell_the_same_as_the_pictures(eagle, crosstalk):
    words = str(job_text(eagle, metering())).replace("─", " ").split()
    assert {"30A", "31A", "32A"} <= set(words)
    assert not {"29A", "0A"} & set(words)
    lines = str(crosstalk_text(crosstalk)).splitlines()
    a, b = crosstalk.zz[-1].qubits
    assert f"{a}-{b}" in lines[1].replace(" ", "")
    assert f"-{len(crosstalk.zz)}.00 kHz" in lines[1]
    assert any("error ×3.50" in line for line in lines)


# --- refusals -----------------------------------------------------------------------------------------------------


def test_what_cannot_be_drawn_is_refused_with_the_reason(eagle):
    with pytest.raises(InvalidRequestError, match="another region"):
        device_text(eagle, {"a": [1, 2], "b": [2, 3]})
    with pytest.raises(InvalidRequestError, match="no qubit 200"):
        device_text(eagle, {"a": [200]})
    with pytest.raises(InvalidRequestError, match="readout_error, t1_us, t2_us"):
        draw_device(eagle, qubits="mood")


# --- of the service -----------------------------------------------------------------------------------------------


def test_a_backend_and_its_crosstalk_are_drawn_as_the_service_publishes_them(device, backend):
    assert sorted(fills(device.draw())) == list(range(127))
    published = device.crosstalk()
    assert {pair.get_gid() for pair in device.draw_crosstalk().axes[0].lines if pair.get_gid()} == {
        "pair-" + "-".join(f"{a}.{b}" for a, b in pair.couplers) for pair in published.simultaneous
    }
    assert "static ZZ" in str(backend.draw_crosstalk("text"))
    assert str(backend.draw("text")).split("\n")[0].replace("─", " ").split() == ["0", "1", "2", "3", "4"]
    with pytest.raises(InvalidRequestError, match="'mpl' or 'text'"):
        backend.draw("oil")


def test_a_job_draws_its_own_placement_on_the_whole_device(bell_job):
    placement = set(bell_job.metering().placement)
    figure = bell_job.draw()
    assert set(rings(figure)) == placement
    assert len(fills(figure)) == 127
    marked = {word for word in str(bell_job.draw("text")).replace("─", " ").split() if word.endswith("A")}
    assert {int(word[:-1]) for word in marked if word[:-1].isdigit()} == placement


def test_a_worse_coupler_stands_out_more(uneven):
    (lines,) = [each for each in draw_device(uneven).axes[0].collections if each.get_linewidth()[0] == 3.5]
    errors = list(edge_errors(uneven).values())
    light = [lightness(colour[:3]) for colour in lines.get_colors()]
    assert len(light) == len(errors)
    in_order = [shade for _, shade in sorted(zip(errors, light, strict=True))]
    assert in_order[0] - in_order[-1] > 0.4
    assert all(better - worse > -1e-3 for better, worse in itertools.pairwise(in_order))
