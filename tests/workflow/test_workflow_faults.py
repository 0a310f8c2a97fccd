"""Kills, interrupts, awkward folders and bad study files."""

import contextlib
import json
import os
import re
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from workflow_project import STUDY, Finished, Project, own_interpreter, wait_for

from scalelab.cli import main
from scalelab.training.loop import ORPHAN_SECONDS

WIDTHS = [24, 32]


def new_project(root: Path) -> Project:
    """Two runs of the micro study and no fit, from nothing."""
    return Project.create(root, ladder={"widths": WIDTHS}, fits=[])


def assert_same_as_uninterrupted(project: Project, finished: Finished) -> None:
    """The numbers are those of the study that nobody interrupted, to the last digit."""
    wanted = {row["id"]: row for row in finished.project.rows() if int(row["width"]) in WIDTHS}
    found = {row["id"]: row for row in project.rows()}
    assert found.keys() == wanted.keys()
    for name in ("loss_nats", "loss_nats_se", "train_loss_nats", "steps", "D", "status"):
        assert {run: row[name] for run, row in found.items()} == {
            run: row[name] for run, row in wanted.items()
        }


def assert_clean(project: Project) -> None:
    """No process, no half-written file, no resume state, and one writer a run."""
    wait_for(lambda: not project.processes())
    results = project.root / "results"
    assert list(results.rglob("*.tmp")) == []
    assert list(results.glob("runs/*/state")) == []
    for row in project.rows():
        folder = results / "runs" / row["id"]
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        steps = [json.loads(line)["step"] for line in lines]
        assert steps == sorted(set(steps))
        assert steps[-1] == int(row["steps"])


def signalled(processes: list[int], number: int) -> None:
    """Send a signal to those that are still there."""
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


@pytest.mark.slow
def test_the_same_command_completes_a_killed_workflow(finished: Finished, tmp_path: Path) -> None:
    """Cases S01, S02 and S18: the manager alone is killed, in the middle of training."""
    project = new_project(tmp_path / "project")
    study = (project.root / STUDY).read_bytes()
    first = project.start()
    try:
        started = wait_for(project.runs_in_training, first)
        # The manager alone: its jobs live on and must notice. They stand still meanwhile, or a run
        # of half a second would end before it looks.
        jobs = [pid for pid in project.processes() if pid != first.pid]
        signalled(jobs, signal.SIGSTOP)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        time.sleep(1.5 * ORPHAN_SECONDS)
        signalled(jobs, signal.SIGCONT)
        done = project.snakemake()
    finally:
        project.end(first)
    assert done.returncode == 0, done.stdout
    assert_same_as_uninterrupted(project, finished)
    assert_clean(project)
    # Who held a run at the kill has saved its state and left; the run went on from there.
    for run in started:
        assert project.json(f"runs/{run}/run.json")["resumed_from"]
    assert project.jobs() == {}
    assert (project.root / STUDY).read_bytes() == study


@pytest.mark.slow
@pytest.mark.parametrize("name", ['my runs/it\'s a "test" $HOME'], ids=["awkward-folder"])
def test_the_same_command_completes_after_an_interrupt(
    finished: Finished, tmp_path: Path, name: str
) -> None:
    """Cases S08 and S18, with the environment inside the folder."""
    project = new_project(tmp_path / name)
    project = replace(project, python=own_interpreter(project.root))
    study = (project.root / STUDY).read_bytes()
    first = project.start()
    try:
        wait_for(project.runs_in_training, first)
        os.killpg(first.pid, signal.SIGINT)
        assert first.wait() != 0
        interrupted = (project.root / "run.log").read_text(encoding="utf-8")
        done = project.snakemake()
    finally:
        project.end(first)
    assert done.returncode == 0, done.stdout
    assert_same_as_uninterrupted(project, finished)
    assert_clean(project)
    saved = re.findall(r"seed 7: stopped at step ([\d,]+), state saved", interrupted)
    resumed = [project.json(f"runs/{row['id']}/run.json")["resumed_from"] for row in project.rows()]
    assert sorted(step for steps in resumed for step in steps) == sorted(
        int(step.replace(",", "")) for step in saved
    )
    assert (project.root / STUDY).read_bytes() == study
    for row in project.rows():
        found = project.json(f"runs/{row['id']}/run.json")["provenance"]["interpreter"]
        assert found == project.python


def test_a_key_on_the_command_line_is_checked_like_one_in_the_file(bare: Project) -> None:
    """Cases S15 and S16."""
    done = bare.snakemake("--dry-run", "--config", "training={tokens: 60k, lrr: 1}")
    assert done.returncode == 2, done.stdout
    assert "scalelab: command line: unknown key 'training.lrr'; did you mean 'lr'?" in done.stdout


UNKNOWN = ("trainin: {}\n", r"bad\.yaml, line 3: unknown key 'trainin'; did you mean 'training'\?")
INDIVISIBLE = ("ladder: {widths: [9]}\nmodel: {heads: 2}\n", r"width.* found 9, expected a mul")


def bad_study(folder: Path, text: str) -> None:
    """Write bad.yaml."""
    (folder / "bad.yaml").write_text(f"study: bad\ntraining: {{tokens: 1M}}\n{text}")


def one_sentence(output: str, said: str) -> None:
    """What is printed of a bad study file."""
    sentences = [line for line in output.splitlines() if line.startswith("scalelab")]
    assert len(sentences) == 1, output
    assert re.search(said, sentences[0])
    assert "Traceback" not in output


@pytest.mark.parametrize(("text", "said"), [UNKNOWN, INDIVISIBLE], ids=["reading", "planning"])
def test_a_bad_study_file_ends_a_workflow_before_any_job(
    bare: Project, text: str, said: str
) -> None:
    """Case S15: with exit code 2, whether it is found in the file or in the plan."""
    bad_study(bare.root, text)
    done = bare.snakemake(study="bad.yaml")
    assert done.returncode == 2, done.stdout
    one_sentence(done.stdout, said)
    assert not (bare.root / "results").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        UNKNOWN,
        ("model:\n  depth: many\n", r"bad\.yaml, line 4: model\.depth: found 'many'"),
        (
            "model: {width: 8}\ncorpus: {source: files, paths: [nowhere.txt]}\n",
            r"corpus\.paths: 'nowhere\.txt'",
        ),
        ("model: {depth: 2}\n", r"the study has no runs: give ladder\.widths"),
        INDIVISIBLE,
        ("axes: {training.lr: [1e-3, fast]}\nmodel: {width: 8}\n", r"lr: found 'fast'"),
    ],
    ids=["unknown-key", "wrong-value", "no-text", "no-size", "indivisible", "axis"],
)
def test_a_bad_study_file_is_one_sentence_and_exit_code_2(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Case S15: a workflow reads and plans a study by the same two functions."""
    bad_study(tmp_path, text)
    assert main(["plan", str(tmp_path / "bad.yaml")]) == 2
    one_sentence(capsys.readouterr().err, said)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


@pytest.mark.parametrize(
    "text", ["study: [bad\n", "- study\n", ""], ids=["no-yaml", "list", "empty"]
)
def test_what_is_no_mapping_is_refused_by_snakemake_itself(bare: Project, text: str) -> None:
    (bare.root / "bad.yaml").write_text(text)
    done = bare.snakemake(study="bad.yaml")
    assert done.returncode == 1
    assert "Config file" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (bare.root / "results").exists()


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project without results, for calls that must leave none."""
    return Project.create(tmp_path_factory.mktemp("bare") / "project")
