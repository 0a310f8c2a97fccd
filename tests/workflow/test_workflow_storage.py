"""A study whose results lie in object storage: a server that speaks S3, on this machine."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from object_storage import RCLONE, SECRET, broken_way, credentials, s3_server
from workflow_project import CLOUD, STUDY, WIDTHS, Project, has, job_counts

pytestmark = [
    pytest.mark.skipif(not RCLONE, reason="rclone, of the extra dev, is not installed"),
    pytest.mark.skipif(not has("snakemake_storage_plugin_s3"), reason="needs the extra storage"),
]
SHORT: dict[str, Any] = {"training": {"tokens": 20_000}, "fits": [{"law": "power", "x": "N"}]}


@dataclass(frozen=True)
class Stored:
    """A project with its results in a bucket."""

    project: Project
    server: str
    bucket: Path
    """The server's own folder, which is only looked into."""

    def call(
        self, *words: str, address: str = "", study: str = STUDY
    ) -> "subprocess.CompletedProcess[str]":
        """The documented command, by way of another address where one is given."""
        return self.project.snakemake(
            *("--default-storage-provider", "s3", "--default-storage-prefix", "s3://bucket/mine"),
            *("--storage-s3-retries", "1", *words),
            study=study,
            env={**credentials(address or self.server), "PYTHONPATH": CLOUD},
        )

    def names(self) -> set[str]:
        """What lies in the bucket."""
        files = [path for path in self.bucket.rglob("*") if path.is_file()]
        return {path.relative_to(self.bucket / "mine" / "results").as_posix() for path in files}


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Stored]:
    project = Project.create(tmp_path / "project", ladder={"widths": [8, 12, 16]}, **SHORT)
    buckets = tmp_path / "buckets"
    (buckets / "bucket").mkdir(parents=True)
    with s3_server(buckets) as server:
        yield Stored(project, server, buckets / "bucket")


@pytest.mark.slow
def test_a_study_in_object_storage(stored: Stored, tmp_path: Path) -> None:
    # An upload that is cut: the run is not taken for trained, and the same command makes up for it.
    stored.project.write("one.yaml", ladder={"widths": [8]}, **SHORT)
    with broken_way(stored.server, b"model.safetensors") as address:
        cut = stored.call("--until", "train", address=address, study="one.yaml")
    assert cut.returncode != 0 and "Failed to store output" in cut.stdout
    assert not {name for name in stored.names() if name.endswith(("run.json", "sums.json"))}
    whole = stored.call()
    assert whole.returncode == 0, whole.stdout
    names = stored.names()
    runs = {name.split("/")[1] for name in names if name.endswith("run.json")}
    assert len(runs) == 3
    for run in runs:
        wanted = ("checkpoint/model.safetensors", "metrics.jsonl", "sums.json", "logs/train.log")
        assert {f"runs/{run}/{name}" for name in wanted} <= names
    assert {"micro/report.html", "micro/runs.csv", "micro/figures/cost.pdf"} <= names
    assert any(name.endswith("/train.bin") for name in names)
    assert _local(stored.project.root) == {".workflow.lock", "micro/live.json"}

    again = stored.call("--dry-run")
    assert job_counts(again.stdout) == {}, again.stdout

    # What a round decided is read from the bucket: three of its four runs are there.
    rounds = {"adaptive": {"until": {"alpha": 1e-6}, "start": 4}, "ladder": {"widths": WIDTHS[:4]}}
    stored.project.write("rounds.yaml", study="rounds", **rounds, **SHORT)
    adaptive = stored.call("--until", "plan", study="rounds.yaml")
    assert adaptive.returncode == 0, adaptive.stdout
    names = stored.names()
    assert {"rounds/plan.json", "rounds/rounds/1.json"} <= names
    assert sum(name.endswith("run.json") for name in names) == 4

    _harm(stored, f"runs/{min(runs)}/checkpoint/model.safetensors")
    refused = stored.call()
    assert refused.returncode != 0
    assert "damaged or changed since it was written" in refused.stdout
    assert "Traceback" not in refused.stdout
    found = _local(stored.project.root / ".snakemake")
    assert {"log"} <= {name.split("/")[0] for name in found}
    assert _with(SECRET, stored.project.root, stored.bucket) == []


def _local(folder: Path) -> set[str]:
    root = folder / "results" if (folder / "results").is_dir() else folder
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def _with(secret: str, *folders: Path) -> list[Path]:
    """Files that hold a text."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if secret.encode() in path.read_bytes()]


def _harm(stored: Stored, name: str) -> None:
    """Change one byte of an object, through the server."""
    from pyarrow import fs

    # Checksums within a request are more than the server knows (`scalelab.training.offsite`).
    os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    host = stored.server.removeprefix("http://")
    found = credentials(stored.server)
    files = fs.S3FileSystem(
        access_key=found["AWS_ACCESS_KEY_ID"],
        secret_key=found["AWS_SECRET_ACCESS_KEY"],
        endpoint_override=host,
        scheme="http",
        region="us-east-1",
    )
    path = f"bucket/mine/results/{name}"
    content = bytearray(files.open_input_file(path).read())
    content[-1] ^= 1
    with files.open_output_stream(path) as out:
        out.write(bytes(content))
