"""Shapes by name: what each is, that it has one name, where it fits on heavy-hex, and what is said when it does not."""

from __future__ import annotations

import re
from itertools import combinations_with_replacement, groupby, product
from pathlib import Path

import pytest
import rustworkx
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.domain.shapes import MAX_QUBITS, Pattern, lesser, parse_shape, why_nowhere
from qpu_backend.physics.embeddings import embeddings, fits

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "shapes.md"
ARMS = st.integers(1, 6)


def graph_of(pattern: Pattern) -> rustworkx.PyGraph:
    graph = rustworkx.PyGraph()
    graph.add_nodes_from(range(pattern.num_qubits))
    graph.add_edges_from_no_data(list(pattern.pairs))
    return graph


def pieces_without(pattern: Pattern, *positions: int) -> list[list[int]]:
    """What is left of a shape without some positions, in connected pieces; each must be a path."""
    graph = graph_of(pattern)
    graph.remove_nodes_from(positions)
    pieces = [sorted(piece) for piece in rustworkx.connected_components(graph)]
    for piece in pieces:
        assert sum(a in piece and b in piece for a, b in pattern.pairs) == len(piece) - 1
        assert max((graph.degree(position) for position in piece), default=0) <= 2
    return sorted(pieces)


def test_a_line_goes_straight_on():
    assert parse_shape("line-4").pairs == ((0, 1), (1, 2), (2, 3))


@given(st.lists(ARMS, min_size=3, max_size=3).map(lambda arms: sorted(arms, reverse=True)))
def test_a_tee_is_its_centre_and_then_its_arms_outwards(arms: list[int]):
    tee = parse_shape("tee-{}-{}-{}".format(*arms))
    pieces = pieces_without(tee, 0)
    assert [len(piece) for piece in pieces] == arms
    assert [piece[0] for piece in pieces] == [1, 1 + arms[0], 1 + arms[0] + arms[1]]
    assert {(0, piece[0]) for piece in pieces} == {pair for pair in tee.pairs if pair[0] == 0}
    assert all((a, a + 1) in tee.pairs for piece in pieces for a in piece[:-1])


@given(ARMS, ARMS, st.integers(0, 5), ARMS, ARMS)
def test_an_eye_is_two_centres_with_two_arms_each_and_a_bridge(a: int, b: int, bridge: int, c: int, d: int):
    ends = sorted((sorted((a, b), reverse=True), sorted((c, d), reverse=True)), reverse=True)
    name = "eye-{}-{}-{}-{}-{}".format(*ends[0], bridge, *ends[1])
    if a + b + bridge + c + d > MAX_QUBITS - 2:
        with pytest.raises(ValueError, match=f"{name} has"):
            parse_shape(name)
        return
    eye, far = parse_shape(name), 1 + sum(ends[0]) + bridge
    pieces = pieces_without(eye, 0, far)
    assert [len(piece) for piece in pieces] == [size for size in (*ends[0], bridge, *ends[1]) if size]
    assert {len([pair for pair in eye.pairs if centre in pair]) for centre in (0, far)} == {3}
    beside = [{other for pair in eye.pairs if centre in pair for other in pair} for centre in (0, far)]
    assert all(piece[0] in beside[centre] for piece, centre in zip(pieces, (0, 0), strict=False))
    assert all(piece[0] in beside[1] for piece in pieces[-2:])
    assert (far - 1 if bridge else 0) in beside[1]


def test_a_ring_goes_round_and_a_grid_row_by_row():
    assert parse_shape("ring-6").pairs == ((0, 1), (0, 5), (1, 2), (2, 3), (3, 4), (4, 5))
    assert parse_shape("grid-2-3").pairs == ((0, 1), (0, 3), (1, 2), (1, 4), (2, 5), (3, 4), (4, 5))
    for rows, columns in ((2, 10), (3, 6), (4, 5)):
        grid = parse_shape(f"grid-{rows}-{columns}")
        expected = rustworkx.generators.grid_graph(rows, columns)
        assert sorted(grid.pairs) == sorted(tuple(sorted(pair)) for pair in expected.edge_list())


def every_shape(most: int) -> list[Pattern]:
    """All shapes of up to so many qubits, by the names that are taken."""
    sizes = {"line": 1, "ring": 1, "grid": 2, "tee": 3, "eye": 5}
    found = []
    for kind, count in sizes.items():
        for numbers in product(range(most + 1), repeat=count):
            if sum(numbers) <= most:
                try:
                    found.append(parse_shape("-".join((kind, *map(str, numbers)))))
                except ValueError:
                    continue
    return [shape for shape in found if shape.num_qubits <= most]


def test_different_names_are_different_shapes():
    """But for ``ring-4`` and ``grid-2-2``, which number the same square in different ways."""
    shapes = sorted(every_shape(12), key=lambda shape: shape.num_qubits)
    assert len(shapes) > 150
    for _, group in groupby(shapes, key=lambda shape: shape.num_qubits):
        for one, other in combinations_with_replacement(group, 2):
            same = rustworkx.is_isomorphic(graph_of(one), graph_of(other))
            assert same == (one == other or {str(one), str(other)} == {"ring-4", "grid-2-2"}), (str(one), str(other))


def test_a_shape_is_written_as_it_is_read_and_hangs_together():
    for shape in every_shape(10):
        assert parse_shape(str(shape)) == shape
        assert rustworkx.is_connected(graph_of(shape))
        assert shape.pairs == tuple(sorted(shape.pairs))
        assert all(0 <= a < b < shape.num_qubits for a, b in shape.pairs)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("tee-1-2-2", "the name of this shape is tee-2-2-1"),
        ("eye-1-2-0-1-1", "the name of this shape is eye-2-1-0-1-1"),
        ("eye-2-1-3-3-1", "the name of this shape is eye-3-1-3-2-1"),
        ("eye-1-1-3-2-1", "the name of this shape is eye-2-1-3-1-1"),
        ("grid-3-2", "the name of this shape is grid-2-3"),
        ("line-1", "a line has at least 2 qubits"),
        ("ring-2", "a ring has at least 3 qubits"),
        ("tee-2-1-0", "every arm has at least 1 qubit"),
        ("eye-1-0-1-1-1", "every arm has at least 1 qubit"),
        ("grid-1-5", "a grid has at least 2 rows and 2 columns"),
        ("line-21", "line-21 has 21 qubits, and shapes have 20 at most"),
        ("tee-18-1-1", "tee-18-1-1 has 21 qubits"),
        ("grid-3-7", "grid-3-7 has 21 qubits"),
        *((name, "shapes are line-N, tee-A-B-C") for name in ("", "tee", "tee-2-2", "line-2-2", "cross-1-1-1-1")),
        *((name, "shapes are line-N, tee-A-B-C") for name in ("tee-02-2-1", "tee-2-2-1 ", "Tee-2-2-1", "line--5")),
        *((name, "shapes are line-N, tee-A-B-C") for name in ("line-100", "eye-1-1-1-1", "line-\u0665", "ring-6\n")),
    ],
)
def test_what_is_no_name_is_refused_with_the_reason(name: str, why: str):
    with pytest.raises(ValueError, match=rf"^{why}"):
        parse_shape(name)


# --- on a chip --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "regions", "images"),
    [
        *(("line-5", 342, 2), ("tee-1-1-1", 36, 6), ("tee-2-2-1", 104, 2), ("tee-2-2-2", 34, 6)),
        *(("eye-1-1-1-1-1", 43, 8), ("ring-12", 18, 24), ("ring-20", 37, 40), ("tee-7-6-6", 4456, 2)),
        *(("eye-1-1-0-1-1", 0, 8), ("ring-11", 0, 22), ("grid-2-2", 0, 8)),
    ],
)
def test_shapes_have_so_many_places_on_127_qubit_heavy_hex(chip, name: str, regions: int, images: int):
    """Places differ in their qubits; each is listed with every symmetric image of the shape on it."""
    shape = parse_shape(name)
    rows = embeddings(chip().topology, shape.num_qubits, shape.pairs).tolist()
    assert len({frozenset(row) for row in rows}) == regions
    assert len(rows) == regions * images


def refusal(chip, name: str) -> str:
    topology = chip().topology
    return why_nowhere(parse_shape(name), "chip", lambda shape: fits(topology, shape.num_qubits, shape.pairs))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("eye-2-1-0-1-1", "there is no eye with a bridge of 0 on it"),
        ("ring-6", "the rings there are ring-12, ring-20"),
        ("grid-3-3", "there is no grid on it"),
        ("grid-2-2", "there is no grid on it"),
    ],
)
def test_what_fits_nowhere_is_refused_with_the_largest_of_its_kind(chip, name: str, why: str):
    assert refusal(chip, name) == f"{name} fits nowhere on chip: {why}"


def test_the_shape_that_a_refusal_names_is_the_largest_within():
    def allowed(shape: Pattern) -> bool:
        return shape.num_qubits <= 9 and shape.sizes[0] <= 4

    asked = parse_shape("tee-7-5-3")
    assert why_nowhere(asked, "chip", allowed).endswith("the largest tee within it that does is tee-4-3-1")
    assert why_nowhere(parse_shape("line-20"), "line5", lambda line: line.num_qubits <= 5).endswith(
        "fits nowhere on line5: the longest line there is line-5"
    )


@pytest.mark.parametrize("name", ["line-6", "tee-4-3-2", "eye-3-1-2-2-1", "grid-3-4"])
def test_lesser_shapes_are_all_those_of_the_kind_that_lie_within_the_largest_first(name: str):
    asked = parse_shape(name)
    smaller = lesser(asked)
    assert [shape.num_qubits for shape in smaller] == sorted((s.num_qubits for s in smaller), reverse=True)
    alike = [shape for shape in every_shape(12) if shape.kind == asked.kind and shape.num_qubits < asked.num_qubits]
    if asked.kind == "eye":
        alike = [shape for shape in alike if shape.sizes[2] == asked.sizes[2]]
    within = {str(shape) for shape in alike if lies_in(shape, asked)}
    assert {str(shape) for shape in smaller} == within
    assert all(lies_in(smaller[-1], shape) for shape in smaller)


def lies_in(shape: Pattern, other: Pattern) -> bool:
    return rustworkx.is_subgraph_isomorphic(graph_of(other), graph_of(shape), induced=False)


# --- the documents ----------------------------------------------------------------------------------------------------


def test_the_page_of_shapes_shows_positions_and_couplings_as_they_are():
    row = r"^\| `([a-z]+-[\d-]+)` \| (\d+) \| ((?:\d+-\d+ ?)+) \|"
    shown = re.findall(row, PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name.split("-")[0] for name, _, _ in shown} == {"line", "tee", "eye", "ring", "grid"}
    for name, qubits, couplings in shown:
        shape = parse_shape(name)
        assert int(qubits) == shape.num_qubits
        assert [tuple(map(int, pair.split("-"))) for pair in couplings.split()] == list(shape.pairs)
