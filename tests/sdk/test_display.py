"""The device map shows every qubit once, in its place, with regions."""

from __future__ import annotations

import pytest

from qpu_sdk.display import backend_html, device_text, draw_device, edge_errors
from qpu_sdk.errors import InvalidRequestError
from qpu_sdk.layout import qubit_positions

REGIONS = {"alice": [0, 1, 2], "bob": [32, 31, 30]}


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


def test_missing_edges_and_lonely_qubits_still_have_places(eagle):
    edges = [edge for edge in edge_errors(eagle) if 5 not in edge and edge != (20, 21)]
    places = qubit_positions(eagle.num_qubits, edges)
    assert set(places) == set(range(127))
    assert len(set(places.values())) == 127


@pytest.mark.parametrize("size", [3, 4, 12, 30])
def test_a_ring_is_laid_on_a_circle(size):
    places = qubit_positions(size, [(q, (q + 1) % size) for q in range(size)])
    assert len(set(places.values())) == size


def test_the_text_names_every_qubit_and_marks_regions(eagle):
    picture = device_text(eagle, REGIONS)
    words = str(picture).replace("─", " ").split()
    assert {str(qubit) for qubit in range(3, 30)} <= set(words)
    assert {"0A", "1A", "2A", "30B", "31B", "32B"} <= set(words)
    assert "A alice" in str(picture)
    assert max(len(text) for text in str(picture).splitlines()) <= 80


def test_the_picture_is_written(eagle, tmp_path):
    path = tmp_path / "device.png"
    draw_device(eagle, REGIONS, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 10_000


def test_regions_that_share_a_qubit_are_refused(eagle):
    with pytest.raises(InvalidRequestError, match="another region"):
        device_text(eagle, {"a": [1, 2], "b": [2, 3]})
    with pytest.raises(InvalidRequestError, match="no qubit 200"):
        device_text(eagle, {"a": [200]})


def test_names_in_html_are_escaped(line):
    page = backend_html(line.model_copy(update={"name": "<script>"}))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
