"""Slices: qubits that one tenant's jobs use, and nobody else's."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from qpu_backend.bootstrap import open_bookings
from qpu_backend.config import DeviceSection, load_config
from qpu_backend.domain.errors import UnknownBackend
from qpu_backend.domain.isa import NotIsa
from qpu_backend.physics.errors import InvalidDevice
from qpu_backend.physics.topology import mask_of

DEVICE = "eagle127"
QUBITS = tuple(range(19))
"""The first two rows of the chip, with what joins them."""
LINE, SLICE, IN_SLICE = "eagle127:line-5", "eagle127/lab", "eagle127/lab:line-5"


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A service that has given some qubits to the tenant ``acme``, and two tenants."""
    from tests.pipeline.conftest import laboratory  # noqa: PLC0415

    slices = {"lab": {"tenant": "acme", "qubits": QUBITS}, "later": {"tenant": "nobody yet", "qubits": (100, 101)}}
    with laboratory(tmp_path_factory.mktemp("sliced"), device={"slices": slices, "crosstalk": False}) as lab:
        yield SimpleNamespace(lab=lab, acme=lab.tenant("acme"), bob=lab.tenant("bob"))


def backend(house, name, scope=None):
    with house.lab.database.read() as connection:
        return house.lab.service.door.fleet.backend(connection, name, scope)


def regions(lab, *job_ids):
    return {placement.job_id: set(placement.region) for ran in lab.batches(*job_ids) for placement in ran.placements}


def test_jobs_of_a_slice_stay_in_it_and_no_others_ever_come_in(house, make):
    lab = house.lab
    with lab.queueing():
        hers = [lab.submit(house.acme, make.sample(make.ghz(), backend=IN_SLICE)) for _ in range(6)]
        hers += [lab.submit(house.acme, make.sample(make.pinned(0, 1, 2), backend=SLICE))]
        theirs = [
            lab.submit(who, make.sample(make.ghz(size), backend=f"eagle127:line-{size}"))
            for who in (house.acme, house.bob)
            for size in (2, 5, 5, 10)
            for _ in range(4)
        ]
    assert {row.state for row in lab.ended(*hers, *theirs)} == {"done"}
    found = regions(lab, *hers, *theirs)
    assert all(found[job] <= set(QUBITS) for job in hers)
    assert not any(found[job] & {*QUBITS, 100, 101} for job in theirs)
    together = [ran for ran in lab.batches(*hers) if set(ran.job_ids) & set(theirs)]
    assert together, "a slice and the rest of the device run at the same time"
    lab.check_books()


@pytest.mark.parametrize("name", [SLICE, IN_SLICE])
def test_a_foreign_slice_is_unknown_exactly_as_one_that_is_not_there(house, make, name):
    refused = []
    for asked in (name, name.replace("lab", "bal")):
        with pytest.raises(UnknownBackend) as refusal:
            house.lab.submit(house.bob, make.sample(make.ghz(), backend=asked))
        refused.append(str(refusal.value).replace(asked, "…"))
        with pytest.raises(UnknownBackend):
            backend(house, asked)
    assert refused[0] == refused[1]
    assert "acme" not in refused[0]


def test_a_slice_is_published_with_its_own_qubits_under_the_devices_numbers(house):
    sliced, rest = backend(house, SLICE, house.acme), backend(house, DEVICE, house.bob)
    whole = rest.calibrated.snapshot
    assert sliced.snapshot.num_qubits == rest.snapshot.num_qubits == 127
    assert sliced.snapshot.usable_qubits == tuple(q for q in whole.usable_qubits if q in QUBITS)
    assert {q for _, qubits in sliced.snapshot.gates for q in qubits} == set(sliced.snapshot.usable_qubits)
    assert set(rest.snapshot.usable_qubits) == set(whole.usable_qubits) - {*QUBITS, 100, 101}
    assert not any({*QUBITS, 100, 101} & set(qubits) for _, qubits in rest.snapshot.gates)
    assert all(sliced.snapshot.qubit(q) == whole.qubit(q) for q in sliced.snapshot.usable_qubits)
    assert backend(house, DEVICE, house.acme) is rest, "its owner, too, has the slice by the slice's name only"


def test_medians_of_a_virtual_qpu_are_those_of_the_places_it_can_be_put_on(house):
    inside, outside = backend(house, IN_SLICE, house.acme).shape, backend(house, LINE, house.acme).shape
    slice_mask = mask_of(QUBITS)
    for shape, allowed in ((inside, slice_mask), (outside, ~mask_of((*QUBITS, 100, 101)))):
        assert all(mask_of(region) & ~allowed == 0 for region in shape.table.regions.tolist())
    assert 0 < inside.regions < outside.regions
    assert inside.snapshot.qubits != outside.snapshot.qubits


def test_a_shape_without_a_place_inside_the_slice_is_refused_with_what_fits(house):
    with pytest.raises(
        UnknownBackend, match=r"line-20 fits nowhere on eagle127/lab: the longest line there is line-1\d"
    ):
        backend(house, "eagle127/lab:line-20", house.acme)
    assert backend(house, "eagle127:line-20", house.acme).shape is not None


@pytest.mark.parametrize(
    ("who", "name", "qubits", "reason"),
    [
        ("bob", DEVICE, (2, 3), "qubit [23] is reserved for a slice"),
        ("acme", DEVICE, (2, 3), "qubit [23] is reserved for a slice"),
        ("bob", DEVICE, (100, 101), "qubit 10[01] is reserved for a slice"),
        ("acme", SLICE, (60, 61), "qubit 6[01] is outside the slice"),
    ],
)
def test_a_pinned_job_on_a_qubit_of_another_place_is_refused_by_its_number(house, make, who, name, qubits, reason):
    with pytest.raises(NotIsa, match=reason) as refusal:
        house.lab.submit(getattr(house, who), make.sample(make.pinned(*qubits), backend=name))
    assert refusal.value.field == "circuits[0]"
    assert set(refusal.value.qubits) & set(qubits)


def test_a_slice_whose_tenant_does_not_exist_yet_is_kept_and_then_used(new_lab, make):
    lab = new_lab(device={"slices": {"lab": {"tenant": "later", "qubits": list(QUBITS)}}})
    bob = lab.submit(lab.tenant())
    later = lab.tenant("later")
    job = lab.submit(later, make.sample(make.ghz(), backend=IN_SLICE))
    lab.ended(bob, job)
    found = regions(lab, bob, job)
    assert found[job] <= set(QUBITS)
    assert not found[bob] & set(QUBITS)


def test_a_job_that_waits_for_a_slice_that_went_to_another_tenant_fails_free(new_lab, make):
    lab = new_lab("one", device={"slices": {"lab": {"tenant": "acme", "qubits": list(QUBITS)}}}, started=False)
    acme = lab.tenant("acme")
    job = lab.submit(acme, make.sample(make.ghz(), backend=IN_SLICE))
    again = new_lab("one", device={"slices": {"lab": {"tenant": "bob", "qubits": list(QUBITS)}}})
    (row,) = again.ended(job)
    assert (row.state, row.error_code) == ("failed", "unplaceable")
    usage = again.usage(acme, job)
    assert usage is not None
    assert usage.price_micro == 0


# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slices", "told"),
    [
        ({"a": {"tenant": "x", "qubits": [1, 2]}, "b": {"tenant": "y", "qubits": [2, 3]}}, "b.qubits: qubit 2 is here"),
        ({"a": {"tenant": "x", "qubits": [1, 1]}}, "a.qubits: qubit 1 is twice"),
        ({"a": {"tenant": "x", "qubits": []}}, "slices.a.qubits"),
        ({"a": {"tenant": "x", "qubits": [-1]}}, "slices.a.qubits.0"),
        ({"a": {"tenant": "", "qubits": [1]}}, "slices.a.tenant"),
        ({"a": {"qubits": [1]}}, "slices.a.tenant"),
        ({"status": {"tenant": "x", "qubits": [1]}}, "status: a slice cannot be called"),
        ({"A b": {"tenant": "x", "qubits": [1]}}, "slices.A b"),
        ({"*": {"tenant": "x", "qubits": [1]}}, r"slices\.\*"),
        ({"a": {"tenant": "x", "qubits": [1], "weight": 2}}, "slices.a.weight"),
    ],
)
def test_slices_that_cannot_be_are_refused_by_the_name_of_the_field(slices, told):
    with pytest.raises(ValidationError, match=told):
        DeviceSection(slices=slices)


def test_a_qubit_that_the_device_does_not_have_is_refused_at_the_start(new_lab):
    with pytest.raises(InvalidDevice, match="eagle127 has qubits 0 to 126") as refusal:
        new_lab(device={"slices": {"lab": {"tenant": "acme", "qubits": [5, 127]}}})
    assert refusal.value.field == "devices.eagle127.slices.lab.qubits"


def test_slices_are_read_from_the_file_and_known_to_commands(tmp_path, new_lab):
    file = tmp_path / "qpu.toml"
    file.write_text('[devices.eagle127.slices.lab]\ntenant = "acme"\nqubits = [0, 1, 2]\n', encoding="utf-8")
    section = load_config(file).devices[DEVICE].slices["lab"]
    assert (section.tenant, section.qubits) == ("acme", (0, 1, 2))
    lab = new_lab("lab", device={"slices": {"lab": {"tenant": "acme", "qubits": [0, 1, 2]}}}, started=False)
    office = open_bookings(load_config(data=tmp_path / "lab"), lab.database, DEVICE)
    with lab.database.read() as connection:
        rest = office._fleet.backend(connection, DEVICE)
    assert not {0, 1, 2} & set(rest.snapshot.usable_qubits)


def test_a_device_that_is_all_slices_is_no_backend(new_lab):
    lab = new_lab(device={"slices": {"lab": {"tenant": "acme", "qubits": list(range(127))}}}, started=False)
    with lab.database.read() as connection, pytest.raises(UnknownBackend, match="no qubit of eagle127 is left"):
        lab.service.door.fleet.backend(connection, DEVICE)
