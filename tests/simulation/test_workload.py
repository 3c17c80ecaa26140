"""What a workload file may say, and what is said of one that says something else."""

from __future__ import annotations

import json

import pytest

from qpu_backend.simulation.synthetic import backlog, mixed
from qpu_backend.simulation.workload import InvalidWorkload, parse_workload, read_workload

KINDS = {"bell_n4": {"qubits": 4}, "qft_n3": {"qubits": 3, "standalone_device_s": 3.25, "shots": 1000}}


def test_the_short_form_is_one_tenant_with_everything_there_at_the_beginning():
    read = parse_workload({"kinds": KINDS, "queue": ["qft_n3", "bell_n4"]})
    assert [job.kind for job in read.jobs] == ["qft_n3", "bell_n4"]
    assert {(job.tenant, job.lane, job.arrival_us) for job in read.jobs} == {("tenant", "standard", 0)}
    assert read.kinds["qft_n3"].standalone_us == 3_250_000
    assert (read.kinds["qft_n3"].shots, read.kinds["bell_n4"].shots) == (1000, 4000)


def test_columns_and_entries_say_the_same():
    columns = {
        "kinds": KINDS,
        "queue": ["bell_n4", "qft_n3"],
        "arrival_s": [2.0, 0.5],
        "tenants": ["a", "b"],
        "lanes": ["batch", "ci"],
        "weights": {"a": 2},
    }
    entries = {
        "kinds": KINDS,
        "queue": [
            {"kind": "bell_n4", "arrival_s": 2.0, "tenant": "a", "lane": "batch"},
            {"kind": "qft_n3", "arrival_s": 0.5, "tenant": "b", "lane": "ci"},
        ],
        "weights": {"a": 2},
    }
    assert parse_workload(columns) == parse_workload(entries)


def test_jobs_come_in_the_order_of_their_arrival():
    read = parse_workload({"kinds": KINDS, "queue": ["bell_n4"] * 3, "arrival_s": [5.0, 1.0, 1.0]})
    assert [job.id for job in read.jobs] == ["job-000001", "job-000002", "job-000000"]


def test_a_job_with_other_shots_is_of_a_kind_without_a_measured_time():
    read = parse_workload({"kinds": KINDS, "queue": ["qft_n3", {"kind": "qft_n3", "shots": 50}]})
    other = read.kinds[read.jobs[1].kind]
    assert (other.name, other.shots, other.standalone_us) == ("qft_n3", 50, None)


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"queue": ["bell_n4", "nothing_n4"]}, "queue.1", "'nothing_n4' is not among kinds"),
        ({"queue": [{"kind": "nothing_n4"}]}, "queue.0.kind", "is not among kinds"),
        ({"queue": []}, "queue", "at least 1"),
        ({"queue": [{"kind": "bell_n4", "arrival_s": -1}]}, "queue.0.arrival_s", "greater than or equal to 0"),
        ({"queue": [{"kind": "bell_n4", "lane": "fast"}]}, "queue.0.lane", "interactive"),
        ({"queue": [{"kind": "bell_n4", "shots": 0}]}, "queue.0.shots", "greater than or equal to 1"),
        ({"queue": [{"kind": "bell_n4", "colour": "red"}]}, "queue.0.colour", "not permitted"),
        ({"queue": [7]}, "queue.0", "valid"),
        ({"arrival_s": [-0.5]}, "arrival_s.0", "greater than or equal to 0"),
        ({"arrival_s": [float("nan")]}, "arrival_s.0", "finite"),
        ({"arrival_s": [0, 1]}, "arrival_s", "2 entries for a queue of 1"),
        ({"tenants": []}, "tenants", "0 entries"),
        ({"lanes": ["standard"] * 2}, "lanes", "2 entries"),
        ({"weights": {"tenant": 0}}, "weights.tenant", "greater than 0"),
        ({"weights": {"tenant": -2}}, "weights.tenant", "greater than 0"),
        ({"weights": {"nobody": 1}}, "weights.nobody", "no job"),
        ({"tenants": ["a"], "queue": [{"kind": "bell_n4", "tenant": "b"}]}, "queue.0", "tenants"),
        ({"kinds": {}}, "kinds", "at least 1"),
        ({"kinds": {"bell_n4": {"qubits": 0}}}, "kinds.bell_n4.qubits", "greater than or equal to 1"),
        ({"kinds": {"bell_n4": {}}}, "kinds.bell_n4.qubits", "required"),
        (
            {"kinds": {"bell_n4": {"qubits": 4, "standalone_device_s": 0}}},
            "kinds.bell_n4.standalone_device_s",
            "greater than 0",
        ),
        ({"shots": 0}, "shots", "greater than or equal to 1"),
        ({"weigths": {"tenant": 1}}, "weigths", "not permitted"),
    ],
)
def test_what_is_wrong_is_said_by_its_field(change, field, says):
    with pytest.raises(InvalidWorkload) as refused:
        parse_workload({"kinds": KINDS, "queue": ["bell_n4"], **change})
    assert refused.value.field == field
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "says"), [("{", "no JSON"), ("[1]", "workload: "), ("[" * 100_000, "no JSON"), (None, "no such file")]
)
def test_a_file_that_is_no_workload_is_refused(tmp_path, text, says):
    path = tmp_path / "workload.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidWorkload, match=says):
        read_workload(path)


def test_generated_workloads_are_workloads_and_repeat(tmp_path):
    path = tmp_path / "workload.json"
    path.write_text(json.dumps(mixed(30, seed=1, rate_per_s=2.0)))
    assert read_workload(path) == parse_workload(mixed(30, seed=1, rate_per_s=2.0))
    assert mixed(30, seed=1) != mixed(30, seed=2)
    crowd = parse_workload(backlog(5, 3, seed=0))
    assert sorted(crowd.weights.values()) == [1.0, 1.0, 2.0, 2.0, 4.0]
    assert len(crowd.jobs) == 3 * 10
