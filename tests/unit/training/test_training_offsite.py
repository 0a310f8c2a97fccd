"""Copies of resume states in object storage, against a server that speaks S3 on this machine."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from object_storage import RCLONE, broken_way, credentials, s3_server

from scalelab.cli import main
from scalelab.errors import TryAgain, UserError
from scalelab.files import read_json
from scalelab.training import state
from scalelab.training.offsite import STATES, Copies, copied, opened
from scalelab.training.progress import MANAGER

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.skipif(not RCLONE, reason="rclone, of the extra dev, is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("buckets")
    (folder / "bucket").mkdir()
    with s3_server(folder) as address:
        yield address


@pytest.fixture
def address(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """An empty folder of a bucket, with the way to it in the environment."""
    made = f"s3://bucket/{tmp_path.name}"
    for name, value in {**credentials(server), STATES: made, "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)
    return made


def save(folder: Path, step: int) -> None:
    state.save(folder, step, {"identity": "mine", "weights": torch.full((5000,), float(step))})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.state"))


def stored(address: str) -> dict[str, bytes]:
    """The states below an address: content by name."""
    files, path = opened(address)
    found = [name for name in files.find(path) if name.endswith(".state")]
    return {name.rpartition("/")[2]: files.cat_file(name) for name in found}


def overwrite(address: str, name: str, content: bytes) -> None:
    files, path = opened(f"{address}/runs/0123456789ab/{name}")
    with files.open(path, "wb") as out:
        out.write(content)


def machine(tmp_path: Path, name: str) -> Path:
    """The states of one run on a machine of that name."""
    return tmp_path / name / "runs" / "0123456789ab" / "state"


class Stopped(Exception):
    """What ends a run in these tests."""


def lose(folder: Path, *steps: int) -> None:
    """Train so many steps on a machine that is stopped after the last one."""
    with pytest.raises(Stopped), copied(folder, print):
        for step in steps:
            save(folder, step)
        raise Stopped


def test_a_lost_machine_is_gone_on_from_on_another(address: str, tmp_path: Path) -> None:
    lose(machine(tmp_path, "first"), 10, 20)
    other = machine(tmp_path, "second")
    with copied(other, print):
        found, notes = state.load_newest(other, "mine")
        assert found is not None and found["step"] == 20 and not notes
        save(other, 30)
    assert stored(address) == {}  # a run that has ended needs no state


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_elsewhere(
    address: str, tmp_path: Path, corpus_folder: Path, spec: Callable[..., dict[str, Any]]
) -> None:
    def words(name: str, *more: str) -> list[str]:
        out = tmp_path / name / "runs" / "0123456789ab"
        settings = json.dumps(spec(steps=1200, batch_tokens=32))
        found = ["train", "--spec", settings, "--corpus", str(corpus_folder), "--out", str(out)]
        return [*found, *more]

    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment.pop(MANAGER, None)
    first = subprocess.Popen(
        [sys.executable, "-m", "scalelab", *words("first", "--checkpoint-seconds", "0")],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    while first.poll() is None and not stored(address):
        time.sleep(0.05)
    first.kill()
    assert first.wait() == -signal.SIGKILL, "it ended before a state was copied"
    assert main(words("second")) == 0
    result = read_json(tmp_path / "second" / "runs" / "0123456789ab" / "run.json")
    assert 0 < result["resumed_from"][0] < 1200
    assert stored(address) == {}


def test_each_copy_takes_the_place_of_older_ones(address: str, tmp_path: Path) -> None:
    copies = Copies(address, machine(tmp_path, "first"), print)
    for step in (10, 20, 30):
        save(copies.folder, step)
        copies.send()
    here = [(copies.folder / name).read_bytes() for name in ("000000030.state", "000000020.state")]
    assert list(stored(address).values()) == here


@pytest.mark.parametrize("harm", ["cut", "altered", "empty"])
def test_a_damaged_copy_is_passed_over_for_the_one_before(
    address: str, tmp_path: Path, harm: str
) -> None:
    copies = Copies(address, machine(tmp_path, "first"), print)
    for step in (10, 20):
        save(copies.folder, step)
        copies.send()
    whole = (copies.folder / "000000020.state").read_bytes()
    damaged = {"cut": whole[:5000], "altered": whole[:-1] + b"?", "empty": b""}[harm]
    overwrite(address, "1.state", damaged)
    told: list[str] = []
    other = Copies(address, machine(tmp_path, "second"), told.append)
    other.fetch()
    assert names(other.folder) == ["000000010.state"]
    run = f"{address}/runs/0123456789ab"
    assert told == [
        f"{run}/0.state: resume state taken from here",
        f"{run}/1.state: damaged (checksum differs), passed over",
    ]
    assert not list(other.folder.glob(".*"))


def test_where_nothing_is_left_whole_the_run_begins_anew(address: str, tmp_path: Path) -> None:
    lose(machine(tmp_path, "first"), 10)
    overwrite(address, "0.state", b"x" * 40)
    other = machine(tmp_path, "second")
    with copied(other, print):
        assert state.load_newest(other, "mine") == (None, [])


def test_a_newer_state_that_is_here_is_kept(address: str, tmp_path: Path) -> None:
    lose(machine(tmp_path, "first"), 10)
    here = machine(tmp_path, "first")
    save(here, 20)
    told: list[str] = []
    Copies(address, here, told.append).fetch()
    assert told == [] and "000000020.state" in names(here)


def test_an_upload_that_is_cut_leaves_the_copy_before_it(
    server: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = Copies(address, machine(tmp_path, "first"), print)
    save(copies.folder, 10)
    copies.send()
    told: list[str] = []
    with broken_way(server, b"1.state") as way:
        monkeypatch.setenv("AWS_ENDPOINT_URL", way)
        late = Copies(address, copies.folder, told.append)
        late.slot = copies.slot
        save(late.folder, 20)
        late.send()
    assert len(told) == 1 and "1.state: not copied: " in told[0]
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    other = Copies(address, machine(tmp_path, "second"), print)
    other.fetch()
    assert names(other.folder) == ["000000010.state"]


def test_storage_that_cannot_be_asked_is_no_reason_to_begin_anew(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose(machine(tmp_path, "first"), 10)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(TryAgain, match=r"resume states cannot be read: .*without SCALELAB_STATES"):
        Copies(address, machine(tmp_path, "second"), print).fetch()


def test_a_folder_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATES, "states")
    told = "SCALELAB_STATES: found 'states', expected an address"
    with pytest.raises(UserError, match=told), copied(tmp_path, print):
        pass


@pytest.mark.parametrize("environment", [{}, {STATES: "s3://nowhere/states", "RANK": "1"}])
def test_without_an_address_and_in_later_processes_nothing_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any]
) -> None:
    for name in (STATES, "RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with copied(tmp_path / "state", print):
        pass
    assert not list(tmp_path.iterdir()) and dict(os.environ) == before
