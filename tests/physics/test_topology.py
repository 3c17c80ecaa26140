"""Embeddings are simple paths, all of them; masks and pairs of edges agree with the graph."""

from __future__ import annotations

from itertools import combinations, pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.physics.topology import Topology, line_embeddings, mask_of, qubits_of


@st.composite
def graphs(draw, max_qubits=7):
    n = draw(st.integers(1, max_qubits))
    pairs = list(combinations(range(n), 2))
    return Topology.of(n, draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else [])


@given(graphs(), st.integers(1, 4))
def test_embeddings_are_exactly_the_simple_paths_in_both_orientations(topology, n):
    edges = set(topology.edges)
    expected = {
        path
        for path in permutations(range(topology.num_qubits), n)
        if all((min(pair), max(pair)) in edges for pair in pairwise(path))
    }
    rows = [tuple(row) for row in line_embeddings(topology, n).tolist()]
    assert rows == sorted(expected)


@given(graphs(), st.data())
def test_embeddings_keep_to_usable_qubits_and_edges(topology, data):
    qubits = data.draw(st.sets(st.integers(0, topology.num_qubits - 1)))
    edges = data.draw(st.sets(st.sampled_from(topology.edges))) if topology.edges else set()
    for row in line_embeddings(topology, 3, usable_qubits=mask_of(qubits), usable_edges=edges).tolist():
        assert set(row) <= qubits
        assert all((min(pair), max(pair)) in edges for pair in pairwise(row))


def test_a_five_line_has_342_places_on_the_eagle(eagle):
    model, snapshot = eagle
    rows = line_embeddings(model.topology, 5).tolist()
    assert len({frozenset(row) for row in rows}) == 342
    assert len(rows) == 684
    usable = line_embeddings(model.topology, 5, usable_edges=snapshot.usable_edges).tolist()
    assert not any({24, 25} <= set(row) and abs(row.index(24) - row.index(25)) == 1 for row in usable)
    assert len(usable) < len(rows)


def test_long_lines_stop_at_the_limit_but_cover_the_device(eagle):
    model, _ = eagle
    rows = line_embeddings(model.topology, 30, limit=1000)
    assert 0 < len(rows) <= 2000
    assert set(rows.ravel().tolist()) == set(range(127))
    paths = {tuple(row) for row in rows.tolist()}
    assert {path[::-1] for path in paths} == paths


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
