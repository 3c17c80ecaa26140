"""Masks and pairs of edges agree with the graph; embeddings are all places of a pattern, checked by another search."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, pairwise, permutations

import numpy as np
import pytest
import rustworkx
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.physics import embeddings as searching
from qpu_backend.physics.embeddings import embeddings, fits
from qpu_backend.physics.topology import Topology, mask_of, qubits_of


def path(n):
    return tuple(pairwise(range(n)))


def ring(n):
    return (*path(n), (0, n - 1))


def star(*arms):
    """Arms on position 0, numbered one after the other."""
    starts = np.cumsum([1, *arms]).tolist()
    return tuple(pair for first, end in pairwise(starts) for pair in pairwise([0, *range(first, end)]))


@st.composite
def graphs(draw, max_qubits=7):
    n = draw(st.integers(1, max_qubits))
    pairs = list(combinations(range(n), 2))
    return Topology.of(n, draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else [])


@st.composite
def patterns(draw):
    """A connected pattern of up to five positions, numbered in any order."""
    n = draw(st.integers(1, 5))
    tree = [(draw(st.integers(0, position - 1)), position) for position in range(1, n)]
    more = draw(st.lists(st.sampled_from(list(combinations(range(n), 2))), max_size=3)) if n > 1 else []
    names = draw(st.permutations(range(n)))
    return n, sorted({tuple(sorted((names[a], names[b]))) for a, b in [*tree, *more]})


def found_by_vf2(num_qubits, edges, n, pairs):
    """Rows of all places, by VF2 (Cordella et al. 2004) as rustworkx has it."""
    device, pattern = rustworkx.PyGraph(), rustworkx.PyGraph()
    device.add_nodes_from(range(num_qubits))
    pattern.add_nodes_from(range(n))
    device.add_edges_from_no_data(list(edges))
    pattern.add_edges_from_no_data(list(pairs))
    mappings = rustworkx.vf2_mapping(device, pattern, subgraph=True, induced=False)
    qubit_of = [{position: qubit for qubit, position in mapping.items()} for mapping in mappings]
    return sorted(tuple(place[position] for position in range(n)) for place in qubit_of)


@given(graphs(), st.integers(1, 4))
def test_embeddings_of_a_line_are_exactly_the_simple_paths_in_both_orientations(topology, n):
    edges = set(topology.edges)
    expected = {
        places
        for places in permutations(range(topology.num_qubits), n)
        if all((min(pair), max(pair)) in edges for pair in pairwise(places))
    }
    rows = [tuple(row) for row in embeddings(topology, n, path(n)).tolist()]
    assert rows == sorted(expected)


@given(graphs(), patterns())
def test_embeddings_are_those_that_vf2_finds(topology, pattern):
    rows = embeddings(topology, *pattern)
    assert rows.dtype == np.int16
    assert [tuple(row) for row in rows.tolist()] == found_by_vf2(topology.num_qubits, topology.edges, *pattern)
    assert fits(topology, *pattern) == bool(len(rows))


@given(graphs(), patterns(), st.data())
def test_embeddings_keep_to_usable_qubits_and_edges_and_miss_none_of_them(topology, pattern, data):
    qubits = data.draw(st.sets(st.integers(0, topology.num_qubits - 1)))
    edges = data.draw(st.sets(st.sampled_from(topology.edges))) if topology.edges else set()
    rows = embeddings(topology, *pattern, usable_qubits=mask_of(qubits), usable_edges=edges).tolist()
    left = sorted(edge for edge in edges if set(edge) <= qubits)
    expected = found_by_vf2(topology.num_qubits, left, *pattern)
    assert [tuple(row) for row in rows] == [row for row in expected if set(row) <= qubits]
    assert fits(topology, *pattern, usable_qubits=mask_of(qubits), usable_edges=edges) == bool(rows)


@pytest.mark.parametrize(("n", "pairs"), [(5, path(5)), (4, star(1, 1, 1)), (8, star(4, 2, 1)), (12, ring(12))])
def test_embeddings_on_a_chip_are_those_that_vf2_finds(eagle, n, pairs):
    model, snapshot = eagle
    rows = embeddings(model.topology, n, pairs, usable_edges=snapshot.usable_edges)
    assert [tuple(row) for row in rows.tolist()] == found_by_vf2(127, snapshot.usable_edges, n, pairs)


def test_a_five_line_has_342_places_on_the_eagle(eagle):
    model, snapshot = eagle
    rows = embeddings(model.topology, 5, path(5)).tolist()
    assert len({frozenset(row) for row in rows}) == 342
    assert len(rows) == 684
    usable = embeddings(model.topology, 5, path(5), usable_edges=snapshot.usable_edges).tolist()
    assert not any({24, 25} <= set(row) and abs(row.index(24) - row.index(25)) == 1 for row in usable)
    assert len(usable) < len(rows)


@pytest.mark.parametrize(
    ("n", "pairs", "images", "limit"), [(30, path(30), 2, 1000), (14, path(14), 2, 3000), (13, star(4, 4, 4), 6, 1000)]
)
def test_many_places_stop_at_the_limit_but_cover_the_device(eagle, n, pairs, images, limit):
    model, _ = eagle
    every, rows = embeddings(model.topology, n, pairs), embeddings(model.topology, n, pairs, limit=limit)
    assert 0 < len(rows) <= limit < len(every)
    symmetries = embeddings(Topology.of(n, pairs), n, pairs)
    assert len(symmetries) == images
    ways_round = Counter(symmetries[:, 0].tolist())[0]
    places, kept = Counter(every[:, 0].tolist()), Counter(rows[:, 0].tolist())
    share = limit // (len(places) * images)
    assert share > 2
    for start, rows_there in places.items():
        assert kept[start] >= min(share * ways_round, rows_there)
    assert {tuple(row[image].tolist()) for row in rows for image in symmetries} == {*map(tuple, rows.tolist())}


def test_a_search_that_takes_too_long_stops_with_what_it_has(monkeypatch):
    square = Topology.of(20, [*((q, q + 1) for q in range(19) if q % 5 != 4), *((q, q + 5) for q in range(15))])
    every = {tuple(row) for row in embeddings(square, 20, path(20)).tolist()}
    assert len(every) == 2012
    monkeypatch.setattr(searching, "MAX_TRIES", 20_000)
    some = {tuple(row) for row in embeddings(square, 20, path(20)).tolist()}
    assert 0 < len(some) < len(every)
    assert some < every


def test_a_pattern_in_pieces_or_off_itself_is_refused():
    line = Topology.of(5, path(5))
    with pytest.raises(ValueError, match="position 2 is not connected"):
        embeddings(line, 3, [(0, 1)])
    for pairs in ([(0, 0)], [(0, 2)], [(-1, 0)]):
        with pytest.raises(ValueError, match="from 0 to 1"):
            embeddings(line, 2, pairs)
    with pytest.raises(ValueError, match="positions"):
        embeddings(line, 0, [])


@given(graphs(), st.data())
def test_neighbour_mask_is_the_boundary_of_the_region(topology, data):
    region = data.draw(st.sets(st.integers(0, topology.num_qubits - 1)))
    expected = {v for q in region for v in topology.neighbours(q)} - region
    assert qubits_of(topology.neighbour_mask(mask_of(region))) == tuple(sorted(expected))


@given(graphs())
def test_pairs_at_distance_one_are_what_distance_one_says(topology):
    expected = [pair for pair in combinations(topology.edges, 2) if topology.distance_one(*pair)]
    assert list(topology.distance_one_pairs()) == expected
    assert all(topology.distance_one(b, a) for a, b in expected)


def test_bad_edges_are_refused():
    for edges in [((1, 0),), ((0, 0),), ((0, 3),), ((0, 1), (0, 1)), ((1, 2), (0, 1))]:
        with pytest.raises(ValueError, match="edges"):
            Topology(3, edges)
