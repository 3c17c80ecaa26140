"""Policies, rates and quotas over HTTP: each refusal with its facts, and a class of thirty with limits of their own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from qpu_backend.config import LaneSection
from qpu_backend.domain.quota import Resource, Window
from qpu_backend.domain.tenancy import Role

DEVICE = "eagle127"
SHOTS, DAY = Resource.SHOTS, Window.DAY


@pytest.fixture(scope="module")
def service(running_in, tmp_path_factory):
    """A service with two lanes, and a slice of the tenant ``acme``."""
    settings = {
        "devices": {DEVICE: {"slices": {"lab": {"tenant": "acme", "qubits": list(range(19))}}}},
        "lanes": {"standard": LaneSection(), "fast": LaneSection(weight=400)},
    }
    with running_in(tmp_path_factory.mktemp("qpu"), **settings) as server:
        server.service.administration.create_tenant("acme")
        yield server


@pytest.fixture
def house(service, request):
    """Two new principals of acme, ada and bob, and what limits them."""
    office = service.service.administration
    names = {name: f"{name}-{request.node.name}" for name in ("ada", "bob")}
    clients = {name: service.client(office.create_key("acme", principal=full)) for name, full in names.items()}
    return SimpleNamespace(server=service, office=office, names=names | {None: None}, **clients)


@pytest.fixture
def policy(house):
    """Sets fields of the policy of acme, or of ada or bob, and lifts them in the end."""
    done = []

    def change(principal=None, **fields):
        for field, value in fields.items():
            house.office.set_policy("acme", field, value, principal=house.names[principal])
            done.append((field, house.names[principal]))

    yield change
    for field, principal in done:
        house.office.set_policy("acme", field, None, principal=principal)


def test_a_lane_that_a_policy_closes_is_not_offered(house, policy, orders, refused):
    policy("ada", lanes=("standard",))
    problem = refused(house.ada.post("/v1/jobs", json=orders.of(options={"lane": "fast"})), "lane_refused")
    assert problem["detail"].endswith("open to you: standard")
    assert orders.submit(house.ada, orders.of(options={"lane": "standard"}))
    assert orders.submit(house.bob, orders.of(options={"lane": "fast"}))


def test_a_class_of_isolation_that_a_policy_closes_is_refused(house, policy, orders, refused):
    policy(isolation=("shared", "buffered"))
    policy("ada", isolation=("shared", "exclusive"))
    for asked in ("exclusive", "buffered"):
        problem = refused(house.ada.post("/v1/jobs", json=orders.of(options={"isolation": asked})), "isolation_refused")
        assert (problem["field"], "open to you: shared" in problem["detail"]) == ("options.isolation", True)
    assert orders.submit(house.bob, orders.of(options={"isolation": "buffered"}))


def test_a_slice_that_a_policy_closes_to_a_principal_is_refused_for_jobs_and_sessions(house, policy, orders, refused):
    policy("ada", slices=())
    backend = f"{DEVICE}/lab:line-5"
    assert refused(house.ada.post("/v1/jobs", json=orders.of(backend=backend)), "slice_refused")["field"] == "backend"
    refused(house.ada.post("/v1/sessions", json={"backend": backend}), "slice_refused")
    refused(house.ada.post("/v1/jobs", json=orders.of(backend=f"{DEVICE}/other:line-5")), "unknown_backend")
    assert orders.submit(house.bob, orders.of(backend=backend))


def test_more_circuits_or_bytes_than_a_policy_allows_are_refused(house, policy, orders, refused):
    two = orders.of(orders.circuit(), orders.circuit(4))
    policy("ada", max_circuits=1)
    problem = refused(house.ada.post("/v1/jobs", json=two), "limit_exceeded")
    assert problem["detail"] == "circuits of a job, by your own policy: 2 is above the limit of 1"
    policy("bob", max_body_bytes=100)
    problem = refused(house.bob.post("/v1/jobs", json=orders.raw(b"never decoded")), "limit_exceeded")
    assert "bytes of a submission, by your own policy" in problem["detail"]
    policy("bob", max_body_bytes=100_000)
    assert orders.submit(house.bob, two)


def test_a_principals_queue_is_full_before_its_tenants(house, policy, orders, refused):
    policy("ada", max_queued_jobs=1)
    house.office.set_operational(DEVICE, operational=False, status_msg="closed")
    first = orders.submit(house.ada)
    refused(house.ada.post("/v1/jobs", json=orders.of()), "queue_full")
    second = orders.submit(house.bob)
    house.office.set_operational(DEVICE, operational=True, status_msg="active")
    assert [orders.finished(one, job)["state"] for one, job in ((house.ada, first), (house.bob, second))] == [
        "done"
    ] * 2
    assert orders.submit(house.ada)


def test_a_quote_knows_what_a_policy_closes(house, policy, orders, refused):
    policy("ada", lanes=("standard",), max_circuits=1)
    refused(house.ada.post("/v1/quotes", json=orders.of(options={"lane": "fast"})), "lane_refused")
    refused(house.ada.post("/v1/quotes", json=orders.of(orders.circuit(), orders.circuit(4))), "limit_exceeded")


def test_a_flood_is_refused_with_the_time_to_come_again_and_a_refused_or_repeated_job_costs_nothing(
    house, policy, orders, refused
):
    policy("ada", submissions_per_minute=1, burst=2)
    document = orders.of()
    refused(house.ada.post("/v1/jobs", json=orders.of(backend="osprey")), "unknown_backend")
    refused(house.ada.post("/v1/jobs", json=orders.of(max_cost_micro=1)), "cost_cap_exceeded")
    first = orders.submit(house.ada, document, key="k")
    assert orders.submit(house.ada, document, key="k") == first
    second = orders.submit(house.ada)
    response = house.ada.post("/v1/jobs", json=orders.of())
    problem = refused(response, "rate_limited")
    assert 0 < problem["retry_after_s"] <= 60
    assert int(response.headers["Retry-After"]) >= problem["retry_after_s"]
    assert "you may submit 1 jobs a minute, and at most 2 at once" in problem["detail"]
    refused(house.ada.post("/v1/jobs", json=orders.raw(b"never decoded")), "rate_limited")
    assert orders.submit(house.ada, document, key="k") == first  # what was admitted once is answered
    assert orders.submit(house.bob)
    assert first != second
    metrics = house.server.new_client(Role.OPERATOR).get("/metrics").text
    assert 'qpu_jobs_refused_total{code="rate_limited"}' in metrics


def test_a_tenants_rate_holds_for_all_of_its_principals_together(house, policy, orders, refused):
    policy(submissions_per_minute=1, burst=2)
    orders.submit(house.ada)
    orders.submit(house.bob)
    for one in (house.ada, house.bob):
        problem = refused(one.post("/v1/jobs", json=orders.of()), "rate_limited")
        assert problem["detail"].startswith("all of your tenant together may submit")


def test_everybody_sees_the_tenants_quotas_and_their_own(house, orders):
    house.office.set_limit("acme", SHOTS, DAY, 10**6)
    house.office.set_limit("acme", SHOTS, DAY, 1000, principal=house.names["ada"], burst=500)
    orders.finished(house.ada, orders.submit(house.ada))
    mine, others = (one.get("/v1/usage").json()["quotas"] for one in (house.ada, house.bob))
    assert [(quota["principal"], quota["limit"], quota["carried"]) for quota in mine] == [
        (False, 10**6, 0),
        (True, 1500, 500),
    ]
    assert (mine[1]["spent"], mine[1]["free"]) == (100, 1400)
    assert [quota["principal"] for quota in others] == [False]
    house.office.set_limit("acme", SHOTS, DAY, None)
    assert [quota["limit"] for quota in house.ada.get("/v1/usage").json()["quotas"]] == [1500]


# --- a class -------------------------------------------------------------------------------------------------------

STUDENTS = 30
EACH = 250
"""Shots of each; a job has 100."""
ALL = 29 * 200 + 220 + 9 * 50 + 30
"""Shots of the tenant: two jobs of each of the diligent, what the flood got, nine small jobs, too few for a tenth."""


@pytest.fixture(params=["sqlite", "postgresql"])
def school(request, running_in, tmp_path):
    """A service on each database with one tenant, and a client for each of its thirty students."""
    url = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        url = server.url(server.new_database(tables=True))
    with running_in(tmp_path / "qpu", database=url) as server:
        office = server.service.administration
        office.create_tenant("school", limits={(SHOTS, DAY): ALL})
        shared = server.client(None)
        students = []
        for name in (f"student-{number}" for number in range(STUDENTS)):
            students.append(Student(shared, office.create_key("school", principal=name)))
            office.set_limit("school", SHOTS, DAY, EACH, principal=name)
            for field, value in (("submissions_per_minute", 1), ("burst", 4), ("max_running_jobs", 2)):
                office.set_policy("school", field, value, principal=name)
        yield students


class Student:
    """A client with a key of its own over connections that all of them share."""

    def __init__(self, client, key):
        self._client = client
        self._headers = {"Authorization": f"Bearer {key}"}

    def get(self, path, **facts):
        return self._client.get(path, headers=self._headers, **facts)

    def post(self, path, **facts):
        return self._client.post(path, headers=self._headers, **facts)


class Watch:
    """Looks at a client's quotas until it is stopped."""

    def __init__(self, client):
        self.looks = []
        self._client = client
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self):
        while not self._stop.is_set():
            self.looks += self._client.get("/v1/usage").json()["quotas"]

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


def test_of_thirty_students_one_floods_and_the_others_get_their_jobs_through(school, orders):
    flood, *diligent = school
    order = {shots: orders.of(shots=shots) for shots in (10, 50, 100)}

    def submit(client, *shots):
        return [client.post("/v1/jobs", json=order[number]) for number in shots]

    def codes(responses):
        return [one.json().get("code") or one.json()["state"] for one in responses]

    with Watch(flood) as watch, ThreadPoolExecutor(12) as pool:
        flooded = pool.submit(submit, flood, 100, 100, 100, 10, *[50] * 3, *[10] * 20)
        first = list(pool.map(lambda client: submit(client, 100, 100), diligent))
        assert [codes(responses) for responses in first] == [["queued"] * 2] * 29
        # 200 shots, no third job within 250, one small one: three of a burst of four; then another, and too fast
        told = codes(flooded.result())
        assert told[:4] == ["queued", "queued", "quota_exceeded", "queued"]
        assert told[4:7] == ["quota_exceeded"] * 3
        assert told[7:] == ["queued"] + ["rate_limited"] * 19
        second = list(pool.map(lambda client: submit(client, 50), diligent))
        answers = [code for responses in second for code in codes(responses)]
        assert sorted(answers) == ["queued"] * 9 + ["quota_exceeded"] * 20
        accepted = [
            (client, response.json()["id"])
            for client, responses in zip([*diligent, *diligent], [*first, *second], strict=True)
            for response in responses
            if response.status_code == 202
        ]
        ends = list(pool.map(lambda one: orders.finished(*one)["state"], accepted))
        assert ends == ["done"] * (29 * 2 + 9)
        for response in flooded.result():
            if response.status_code == 202:
                assert orders.finished(flood, response.json()["id"])["state"] == "done"
    assert len(watch.looks) > 10
    for look in watch.looks:
        assert look["free"] + look["reserved"] + look["spent"] == look["limit"]
        assert min(look["free"], look["reserved"], look["spent"]) >= 0
    whole, own = flood.get("/v1/usage").json()["quotas"]
    assert (whole["limit"], whole["reserved"], whole["spent"]) == (ALL, 0, 29 * 200 + 220 + 9 * 50)
    assert (own["limit"], own["reserved"], own["spent"]) == (EACH, 0, 220)
