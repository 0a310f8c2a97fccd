"""What a study says is data to every program on the way, and no secret is written anywhere."""

import base64
import gzip
import json
import re
import shlex
import zlib
from pathlib import Path

import pytest
from small_disk import change, small_disk
from workflow_project import Finished, Project
from workflow_secrets import SECRETS

from scalelab.cli import main

pytestmark = pytest.mark.slow
HOSTILE = "a; touch one; $(touch two) `touch three` \"'\n${HOME} {x} <script>&"


@pytest.fixture
def hostile(tmp_path: Path) -> Project:
    """A study whose every free text would run something in a shell that is not careful."""
    project = Project.create(
        tmp_path / "project",
        corpus={"paths": ["$(touch four) `touch five`; touch six/*.py"]},
        ladder={"widths": [8]},
        description=HOSTILE,
        tracking={"project": HOSTILE},
    )
    (project.root / "text").rename(project.root / "$(touch four) `touch five`; touch six")
    return project


def test_what_a_study_says_is_no_command(hostile: Project) -> None:
    """The jobs that hold its texts run for real; the one with the tracker's project is shown."""
    before = {path.name for path in hostile.root.iterdir()}
    hostile.complete("--until", "plan", "corpus")
    assert hostile.json("micro/plan.json")["description"] == HOSTILE
    (corpus,) = hostile.root.glob("results/corpora/*/manifest.json")
    assert hostile.json(str(corpus.relative_to(hostile.root / "results")))["spec"]
    shown = hostile.complete("--dry-run", "--printshellcmds")
    assert f"--project {shlex.quote(HOSTILE)}" in shown
    assert {path.name for path in hostile.root.iterdir()} - before <= {".snakemake", "results"}


@pytest.mark.parametrize("key", ["study", "evaluation"])
@pytest.mark.parametrize("name", ["a;b", "$(touch x)", "`x`", "a b", "../x", "a\n", "-a", "{x}"])
def test_a_name_that_becomes_a_path_holds_letters_alone(
    tmp_path: Path, key: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = [{"name": name, "source": "files", "paths": ["x"]}]
    study = {"study": name} if key == "study" else {"study": "s", "evaluation": {"sets": sets}}
    path = tmp_path / "study.yaml"
    path.write_text(json.dumps(study), encoding="utf-8")
    assert main(["plan", str(path)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "string should match pattern" in told


def unpacked(content: bytes) -> list[bytes]:
    """A file's bytes, and what is packed in them: gzip, and base64 with deflate in it."""
    found = [content]
    if content[:2] == b"\x1f\x8b":
        found.append(gzip.decompress(content))
    for text in re.findall(rb"[A-Za-z0-9+/=]{400,}", content):
        raw = base64.b64decode(text + b"==")
        for window in (-15, 15, 31):
            try:
                found.append(zlib.decompress(raw, window))
            except zlib.error:
                continue
    return found


def test_no_secret_of_the_environment_is_written_anywhere(finished: Finished) -> None:
    """Logs, plans, records of runs, the report, offline W&B, and the memory of Snakemake."""
    seen = 0
    for path in finished.project.root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            seen += 1
            for name, secret in SECRETS.items():
                assert not any(secret.encode() in one for one in unpacked(content)), (name, path)
    assert seen > 100
    report = finished.project.root / "results/micro/report.html"
    assert len(unpacked(report.read_bytes())) > 1, "nothing packed was looked into"
    assert not any(secret in finished.output for secret in SECRETS.values())
    assert [*finished.project.root.glob("results/micro/wandb/*/*.wandb")]


def test_a_secret_in_an_address_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project")
    project.write(corpus={"paths": ["https://me:5ec2e7@host.invalid/a.txt?X-Amz-Signature=5ec2e7"]})
    done = project.snakemake()
    assert done.returncode == 2
    assert "found a password or a signature in an address" in done.stdout
    assert "5ec2e7" not in done.stdout and "Traceback" not in done.stdout
    assert not (project.root / "results").exists()


def test_a_results_folder_that_is_closed_is_one_sentence(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project", ladder={"widths": [8]}, fits=[])
    with small_disk(project.root / "results", "1m") as disk:
        change(disk, "ro")
        done = project.snakemake()
        assert [*disk.iterdir()] == []
    assert done.returncode == 2, done.stdout
    told = [line for line in done.stdout.splitlines() if line.startswith("scalelab:")]
    assert len(told) == 1 and "Read-only file system" in told[0]
    assert "Traceback" not in done.stdout


def test_another_number_of_processes_trains_nothing_anew(project: Project) -> None:
    compute = "{large_from: 1, large_threads: 1, large_processes: 2, sharding: true}"
    jobs = project.jobs("--config", f"compute={compute}")
    assert "train" not in jobs and "evaluate" not in jobs
