"""What runs again after a change: what the change can alter, and nothing else."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from workflow_project import STUDY, WIDTHS, Project, job_counts

pytestmark = pytest.mark.slow
AFTER_FIT = {"figures": 1, "tables": 1, "report": 1, "track_fit": 1}
AFTER_FIGURES = {"figures": 1, "report": 1, "track_fit": 1}
AFTER_COLLECT = {"collect": 1, "fit": 1, "samples": 1, **AFTER_FIT}
AFTER_PLAN = {"plan": 1, "track": 1, **AFTER_COLLECT}
EVERYTHING = {"corpus": 1, "train": 5, "evaluate": 5, **AFTER_PLAN}


def modified(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file()
    }


def edit(project: Project, module: str, change: Callable[[str], str]) -> None:
    path = project.root / "scalelab" / module
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


def trained(output: str) -> set[str]:
    """Runs that a dry run would train."""
    return set(re.findall(r"rule train:.*?\n    output: results/runs/(\w+)", output, re.S))


def test_a_second_call_does_nothing(project: Project) -> None:
    """Case S03."""
    before = modified(project.root / "results")
    assert "Nothing to be done" in project.complete()
    after = modified(project.root / "results")
    after.pop(".workflow.lock")
    before.pop(".workflow.lock")
    assert after == before


def test_a_moved_folder_and_touched_text_change_nothing(project: Project) -> None:
    """Cases S03 (also from elsewhere) and S05.

    Of files above a size Snakemake sees the time alone: here some are above and some below.
    """
    moved = Project(project.root.rename(project.root.parent / "another name"))
    touched = [*(moved.root / "text").iterdir(), *moved.root.glob("results/corpora/*/*")]
    for path in touched:
        os.utime(path)
    sizes = [path.stat().st_size for path in touched]
    assert min(sizes) < 100_000 < max(sizes)
    above = ("--max-checksum-file-size", "100000")
    there = ("--snakefile", str(moved.root / "Snakefile"), "--directory", str(moved.root))
    elsewhere = Project(project.root.parent)
    assert elsewhere.jobs(*above, *there, study=str(moved.root / STUDY)) == {}


def test_a_changed_byte_of_the_text_changes_everything(project: Project) -> None:
    """Case S05, the other side of it."""
    path = next(iter(sorted((project.root / "text").iterdir())))
    kept = path.stat()
    text = path.read_bytes()
    path.write_bytes(text[:-1] + b"#")
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert path.stat().st_size == kept.st_size
    assert project.jobs() == EVERYTHING


def test_an_added_width_trains_alone(project: Project) -> None:
    project.write(ladder={"widths": [*WIDTHS, 20]})
    assert project.jobs() == {"train": 1, "evaluate": 1, **AFTER_PLAN}


def test_a_removed_width_leaves_the_fit_and_trains_nothing(project: Project) -> None:
    """Case S20."""
    trained = {row["id"] for row in project.rows()}
    project.write(ladder={"widths": [8, 12, 24, 32]})
    assert project.jobs() == AFTER_PLAN
    project.complete("--until", "fit")
    rows = project.rows()
    assert [int(row["width"]) for row in rows] == [8, 12, 24, 32]
    laws = project.json("micro/laws.json")
    for fit in laws["fits"]:
        used = sorted(run for point in fit["points"] for run in point["runs"])
        assert used == sorted(row["label"] for row in rows)
    # The run that is no longer asked for stays, in case it is asked for again.
    assert {path.name for path in (project.root / "results/runs").glob("[0-9a-f]*")} == trained
    project.write()
    assert project.jobs() == AFTER_PLAN


@pytest.mark.parametrize(
    ("section", "change", "expected"),
    [
        ("figures", {"width": "double"}, AFTER_FIGURES),
        ("evaluation", {"stride": 8}, {"evaluate": 5, **AFTER_PLAN}),
        ("training", {"weight_decay": 0.2}, {"train": 5, "evaluate": 5, **AFTER_PLAN}),
        ("fits", [{"law": "power", "x": "N"}], {"fit": 1, **AFTER_FIT}),
        ("tracking", {"project": "another"}, {"track": 1, "track_fit": 1, "report": 1}),
        # Equal values, written in another way.
        ("training", {"tokens": 6e4, "lr": 0.010, "batch_tokens": 256.0}, {}),
    ],
    ids=["figures", "evaluation", "training", "fits", "tracking", "equal"],
)
def test_a_setting_reruns_what_uses_it(
    project: Project, section: str, change: object, expected: dict[str, int]
) -> None:
    """Case S04."""
    project.write(**{section: change})
    assert project.jobs() == expected


def test_a_further_set_is_scored_by_every_run_and_trains_nothing(project: Project) -> None:
    further = {"name": "ours", "source": "files", "paths": ["scalelab/plan/*.py"], "tokens": 2000}
    project.write(evaluation={"sets": [further]})
    assert project.jobs() == {"evaluation_set": 1, "evaluate": 5, **AFTER_PLAN}
    project.write(evaluation={"sets": [further]}, ladder={"widths": WIDTHS[:2]}, fits=[])
    project.complete("--until", "collect")
    rows = project.rows()
    assert {row["ours:tokens"] for row in rows} == {"1999"}, "the separator before them is given"
    assert len({row["ours:loss_nats"] for row in rows}) == 2


def test_a_further_measure_is_taken_of_every_run_and_trains_nothing(project: Project) -> None:
    project.write(evaluation={"measures": ["calibration"]})
    output = project.complete("--dry-run", "--printshellcmds")
    assert job_counts(output) == {"measure": 5, **AFTER_PLAN}
    assert " --only measures " in output
    project.write(evaluation={"measures": ["calibration"]}, ladder={"widths": WIDTHS[:3]}, fits=[])
    project.complete("--until", "fit")
    rows = project.rows()
    assert len({row["calibration/accuracy"] for row in rows}) == 3
    answers = project.json("micro/laws.json")["answers"]
    assert [row["column"] for row in answers[0]["rows"]] == [
        f"calibration/{name}" for name in ("accuracy", "overconfidence", "ece")
    ]


def test_a_setting_on_the_command_line_counts_as_one_in_the_file(project: Project) -> None:
    """Case S16."""
    assert project.jobs("--config", "figures={width: double}") == AFTER_FIGURES


def test_equal_values_of_an_axis_are_one_run(project: Project) -> None:
    """Case S06, in the file and on the command line."""
    text = """{study: axis, seed: 7, fits: [], ladder: {widths: [8]},
        corpus: {source: files, paths: ["text/*.py"], tokenizer: bytes, test_tokens: 20k,
                 tuning_tokens: 5k},
        model: {depth: 1, heads: 2, context: 32},
        training: {tokens: 60k, batch_tokens: 256, precision: fp32},
        axes: {training.lr: [1e-3, 0.001, 1.0e-3, 0.00001]}}"""
    (project.root / "axis.yaml").write_text(text)
    output = project.complete("--dry-run", study="axis.yaml")
    assert job_counts(output) == {"train": 2, "evaluate": 2, **AFTER_PLAN}
    (project.root / "axis.yaml").write_text(text.replace("0.001", "0.1"))
    values = "axes={training.lr: [1.0e-3, 0.00001, 1e-05]}"
    again = project.complete("--dry-run", "--config", values, study="axis.yaml")
    assert trained(again) == trained(output)


def test_comments_and_docstrings_rerun_nothing_and_code_its_layer(project: Project) -> None:
    for module in ("figures/style.py", "training/loop.py", "laws/fitting.py", "corpus/shards.py"):
        edit(project, module, lambda text: text.replace('"""', '"""Put in other words. ', 1))
        edit(project, module, lambda text: text + "\n# A remark.\n")
    assert project.jobs() == {}
    edit(project, "figures/style.py", lambda text: text + "\nADDED = 1\n")
    # The tables take numbers and names from the modules of the figures.
    assert project.jobs() == AFTER_FIT


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ("runs/{run}/eval/{evaluation}.json", {"evaluate": 1, "track": 1, **AFTER_COLLECT}),
        ("runs/{run}/checkpoint", {"train": 1, "evaluate": 1, "track": 1, **AFTER_COLLECT}),
        ("micro/figures/scaling_law.pdf", AFTER_FIGURES),
    ],
    ids=["evaluation", "checkpoint", "figure"],
)
def test_what_is_lost_is_made_again_and_what_follows(
    project: Project, lost: str, expected: dict[str, int]
) -> None:
    """Case S11."""
    plan = project.json("micro/plan.json")
    run = plan["runs"][2]["id"]
    path = project.root / "results" / lost.format(run=run, evaluation=plan["evaluation_id"])
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    output = project.complete("--dry-run")
    assert job_counts(output) == expected
    for name in ("train", "evaluate"):
        made = re.findall(rf"rule {name}:.*?\n    output: results/runs/(\w+)", output, re.S)
        assert made == [run] * expected.get(name, 0)


def test_a_run_that_diverges_is_recorded_and_stops_nothing(project: Project) -> None:
    project.write(
        "diverging.yaml",
        study="diverging",
        ladder={"widths": [16]},
        axes={"training.lr": [1e-2, 50]},
        fits=[],
    )
    # The healthy one is a run of the micro study already.
    assert project.jobs(study="diverging.yaml")["train"] == 1
    project.complete("--until", "fit", study="diverging.yaml")
    healthy, diverged = sorted(project.rows("diverging"), key=lambda row: float(row["lr"]))
    assert healthy["status"] == "ok"
    assert healthy["loss_nats"] in [row["loss_nats"] for row in project.rows()]
    assert (diverged["status"], diverged["loss_nats"]) == ("diverged", "")
    assert diverged["reason"]
    assert project.jobs("--until", "fit", study="diverging.yaml") == {}


def test_results_without_the_memory_of_snakemake_are_still_whole(project: Project) -> None:
    shutil.rmtree(project.root / ".snakemake")
    assert project.jobs() == {}


def test_a_study_of_several_d_gains_one_and_trains_that_alone(project: Project) -> None:
    schedule = {"kind": "wsd", "warmup_tokens": 5120, "cooldown": 0.3, "share_trunk": True}
    study = {"ladder": {"widths": [8]}, "training": {"tokens": None, "schedule": schedule}}
    project.write(**study, fits=[], axes={"training.tokens": [60_000, 120_000]})
    output = project.complete("--until", "collect")
    assert "2 runs branch from 1 trunks: 23% of the training FLOPs saved" in output
    branched = {row["D"]: int(row["trunk_steps"]) for row in project.rows()}
    assert branched == {"59904": 164, "120064": 328}
    assert job_counts(project.complete("--until", "collect")) == {}
    project.write(**study, fits=[], axes={"training.tokens": [60_000, 90_000, 120_000]})
    jobs = project.jobs()
    # The state at the third end follows that at the new second one; no other run is trained.
    assert (jobs["train"], jobs["evaluate"], jobs["trunk"]) == (1, 1, 2)
