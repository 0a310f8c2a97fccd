"""The micro study under a real SLURM: whatever ends its jobs, it loses nothing."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from slurm import Slurm
from workflow_project import ROOT, Project, environment, wait_for

from scalelab.live.study import read
from scalelab.training.progress import is_alive, read_state

pytestmark = pytest.mark.slow
PROFILE = ROOT / "profiles" / "slurm" / "config.yaml"
QUICK = ["--workflow-profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "1"]
SMALL = ["--set-resources", "corpus:mem_mb=1000", "corpus:runtime=30"]


def test_a_study_loses_nothing_to_what_happens_on_a_cluster(
    slurm: Slurm, executor: dict[str, str], tmp_path: Path
) -> None:
    """Cancelled, drained, out of time, preempted, a node lost; then grown until it has a law."""
    training = {"tokens": 400_000, "unique_tokens": 60_000}
    project = Project.create(
        tmp_path / "project", ladder={"widths": [24, 32]}, training=training, fits=[]
    )
    process = project.start(*QUICK, *SMALL, env=executor)
    try:
        wait_for(lambda: len(at_work(project)) == 2, process)
        (job,) = slurm.jobs("running")
        first = slurm.of_job(job)
        assert first["NumCPUs"] == "2", "both side by side"
        study = read(project.root / "results" / "micro")
        assert (study.workflow, study.count("running")) == ("at work", 2)

        # A drained node ends what it has begun and gets nothing new.
        node = first["NodeList"]
        slurm.call("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
        assert len(at_work(project)) == 2
        slurm.call("scancel", job)
        again = retried(slurm, job, process)
        assert slurm.of_job(again)["NodeList"] != node
        assert megabytes(slurm.of_job(again)) == 2 * megabytes(first), "a retry asks for more"
        wait_for(lambda: resumed(project) == 2, process)
        slurm.call("scontrol", "update", f"NodeName={node}", "State=RESUME")

        # Out of time. Training stands still until SLURM wakes it to end it: it is a short one.
        for state in at_work(project):
            os.kill(state["pid"], signal.SIGSTOP)
        wait_for(lambda: elapsed(slurm.of_job(again)) > 60, process)
        slurm.call("scontrol", "update", f"JobId={again}", "TimeLimit=1")
        job = retried(slurm, again, process)
        assert slurm.jobs()[again] == "TIMEOUT"
        wait_for(lambda: resumed(project) == 2, process)

        # A job of a partition with more priority takes both nodes.
        urgent = ["--partition=urgent", "--nodes=2", "--exclusive", f"--chdir={tmp_path}"]
        slurm.call("sbatch", "--wait", *urgent, "--wrap", "sleep 1")
        requeued(slurm, job, process, project, restarts=1)

        # A node that is lost.
        lost = slurm.of_job(job)["NodeList"]
        slurm.call("scontrol", "update", f"NodeName={lost}", "State=DOWN", "Reason=test")
        requeued(slurm, job, process, project, restarts=2)
        assert slurm.of_job(job)["NodeList"] != lost
        slurm.call("scontrol", "update", f"NodeName={lost}", "State=RESUME")
        process.wait(timeout=600)
    finally:
        project.end(process)
    assert process.returncode == 0, (project.root / "run.log").read_text() + slurm.logs()
    for row in project.rows():
        run = project.json(f"runs/{row['id']}/run.json")
        assert len(run["resumed_from"]) >= 4 and run["resumed_from"][0] > 0
        assert run["status"] == "ok"
        undisturbed = train_alone(project, run["spec"], tmp_path / row["id"])
        assert losses(project.root / "results" / "runs" / row["id"]) == losses(undisturbed)
    assert_same_on_two_nodes(slurm, project, run["spec"], tmp_path)
    # A resource is no parameter: what another cluster asks for trains nothing again.
    assert project.jobs("--resources", "job_minutes=7", "--set-resources", "train:mem_mb=9") == {}

    project.write(training=training)  # three sizes more, a fit, samples and a report
    before = set(slurm.jobs())
    process = project.start(*QUICK, *SMALL, env=executor)
    try:
        process.wait(timeout=600)
    finally:
        project.end(process)
    assert process.returncode == 0, (project.root / "run.log").read_text() + slurm.logs()
    assert len(project.rows()) == 5
    assert len(project.json("micro/laws.json")["fits"][0]["points"]) == 5
    assert (project.root / "results" / "micro" / "report.html").stat().st_size > 1e6
    states = {job: state for job, state in slurm.jobs().items() if job not in before}
    assert len(states) >= 3 and set(states.values()) == {"COMPLETED"}, "runs, samples and the fit"


def retried(slurm: Slurm, job: str, process: "subprocess.Popen[str]") -> str:
    """The job that comes in place of one that has ended."""
    wait_for(lambda: slurm.jobs("running").keys() - {job}, process)
    (other,) = slurm.jobs("running").keys() - {job}
    return other


def requeued(
    slurm: Slurm, job: str, process: "subprocess.Popen[str]", project: Project, restarts: int
) -> None:
    """Wait until SLURM has put the job back into its queue, and its runs go on."""
    wait_for(lambda: slurm.of_job(job)["Restarts"] == str(restarts), process)
    # SLURM lets two minutes pass, so that what is left of the job has ended.
    wait_for(lambda: not at_work(project), process)
    slurm.call("scontrol", "update", f"JobId={job}", "StartTime=now")
    wait_for(lambda: slurm.jobs()[job] == "RUNNING" and resumed(project) == 2, process)


def elapsed(job: dict[str, str]) -> int:
    """Seconds that a job has run for."""
    hours, minutes, seconds = job["RunTime"].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds)


def megabytes(job: dict[str, str]) -> int:
    """Memory that a job has asked for."""
    return int(job["MinMemoryNode"].removesuffix("M"))


def at_work(project: Project) -> list[dict[str, Any]]:
    """Progress of the runs that are beyond their first steps."""
    folders = (project.root / "results" / "runs").glob("*/")
    states = [state for folder in folders if is_alive(state := read_state(folder))]
    return [state for state in states if state and state["step"] > 20]


def resumed(project: Project) -> int:
    """Runs at work that began at a step above 0."""
    return sum(state["first_step"] > 0 for state in at_work(project))


def training(project: Project, spec: dict[str, Any], out: Path, *more: str) -> list[str]:
    """The command that trains a run without Snakemake."""
    corpus = project.root / "results" / "corpora" / spec["corpus"]
    words = ["--spec", json.dumps(spec), "--corpus", str(corpus), "--out", str(out)]
    return [sys.executable, "-m", "scalelab", "train", *words, *more]


def train_alone(project: Project, spec: dict[str, Any], out: Path, *more: str) -> Path:
    """A run without Snakemake or SLURM."""
    command = training(project, spec, out, *more)
    subprocess.run(command, check=True, cwd=project.root, env=environment(), capture_output=True)
    return out


def assert_same_on_two_nodes(
    slurm: Slurm, project: Project, spec: dict[str, Any], folder: Path
) -> None:
    """One process on each of two nodes gives the losses of two processes on one."""
    schedule = {**spec["training"]["schedule"], "warmup_steps": 2, "cooldown_steps": 2}
    short = {**spec, "processes": 2, "training": {**spec["training"], "steps": 20}}
    short["training"]["schedule"] = schedule
    together = train_alone(
        project, short, folder / "one node", "--processes", "2", "--threads", "2"
    )
    out, log = folder / "two nodes", folder / "nodes.log"
    command = training(project, short, out, *("--processes", "2", "--nodes", "2", "--threads", "1"))
    words = ["--wait", "--nodes=2", "--ntasks=2", "--cpus-per-task=1", "--mem=2000"]
    words += [f"--output={log}", f"--chdir={project.root}", "--wrap", shlex.join(command)]
    done = subprocess.run(["sbatch", *words], capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr + log.read_text() + slurm.logs()
    assert json.loads((out / "run.json").read_text(encoding="utf-8"))["processes"] == 2
    assert losses(out) == losses(together)


def losses(run: Path) -> list[tuple[int, float]]:
    """Step and loss of each line of metrics."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [(row["step"], row["loss_nats"]) for row in map(json.loads, lines)]


def test_a_file_that_is_seen_late_is_waited_for(tmp_path: Path) -> None:
    """Case S12, with the latency of the shipped profile."""
    latency = YAML(typ="safe").load(PROFILE.read_text(encoding="utf-8"))["latency-wait"]
    (tmp_path / "Snakefile").write_text(
        "rule late:\n"
        '    output: "late.txt"\n'
        '    shell: "(sleep 3; echo here > {output}) > /dev/null 2>&1 &"\n'
    )

    def late(seconds: int) -> "subprocess.CompletedProcess[str]":
        words = ["--cores", "1", "--latency-wait", str(seconds)]
        command = [sys.executable, "-m", "snakemake", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    missing = late(0)
    assert missing.returncode != 0 and "late.txt" in missing.stderr
    wait_for((tmp_path / "late.txt").exists)
    (tmp_path / "late.txt").unlink()
    assert late(latency).returncode == 0
