"""A service that was upgraded in the middle of its work goes on with it: same jobs, same counts, same books."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from revision_0002 import FACTS, restore

from qpu_backend.bootstrap import tenant_scope
from qpu_backend.domain.jobs import JobState
from qpu_backend.engines.aer import FINGERPRINT
from qpu_backend.http.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IDS, STATES = FACTS["ids"], FACTS["states"]


@pytest.fixture(params=["sqlite", "postgresql"])
def upgraded(request: pytest.FixtureRequest, tmp_path: Path, new_lab: Callable[..., Any]) -> Any:
    """This release's service, with the configuration of before, started on the database of before."""
    folder = tmp_path / "lab"
    folder.mkdir(mode=0o700)
    (folder / "pepper").write_bytes(bytes.fromhex(FACTS["pepper"]))
    url = f"sqlite:///{folder / 'qpu.sqlite'}"
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        url = server.url(server.new_database())
    restore(url, tmp_path)
    return new_lab("lab", database=url, device={"crosstalk": False, "quantum_s": 1}, drift_seed="fixture")


def shots_of(lab: Any, name: str) -> str:
    return hashlib.sha256(b"".join(bits.tobytes() for bits in lab.shots(IDS[name]))).hexdigest()


def test_work_goes_on_after_the_upgrade_as_if_nothing_had_happened(upgraded: Any) -> None:
    lab = upgraded
    rows = dict(zip(IDS, lab.ended(*IDS.values()), strict=True))
    for name, before in STATES.items():
        expected = JobState(before) if JobState(before).final else JobState.DONE
        assert rows[name].state is (JobState.CANCELLED if name == "unwanted" else expected), name
    versions = lab.result(IDS["sampler"]).metadata["versions"]
    for name, digest in FACTS["shots"].items():
        if STATES[name] == "done" or versions == FINGERPRINT:  # another Aer may count otherwise
            assert shots_of(lab, name) == digest, name
    assert len(lab.result(IDS["estimator"]).pubs[0].evs) == 2
    for name in ("running", "running beside", "unwanted"):
        (ran,) = lab.batches(IDS[name])
        assert (ran.batch.state, ran.batch.attempt) == ("done", 2)
    lab.idle()
    lab.check_books()


def test_keys_and_idempotency_keys_are_those_of_before(upgraded: Any, make: Any) -> None:
    lab = upgraded
    (row,) = lab.rows(IDS["running"])
    keys = lab.service.door.authenticator
    assert keys.scope_of(FACTS["key"]).tenant_id == row.tenant_id
    with pytest.raises(ProblemError):
        keys.scope_of(FACTS["revoked"])
    again = make.sample(make.ghz(3), shots=60, seed=8)
    assert lab.submit(tenant_scope(row.tenant_id, row.principal_id), again, key="second") == row.id
