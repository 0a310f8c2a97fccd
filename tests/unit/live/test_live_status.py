"""`scalelab status`: before, while and after a study runs."""

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from live_study import at_work, begin, ended, evaluated, gone, plan, recycled

from scalelab.cli import main
from scalelab.files import read_json, write_json
from scalelab.live.announce import FILE
from scalelab.live.choose import chosen
from scalelab.live.left import flops_share, seconds_left, tokens_left
from scalelab.live.status import as_json, as_text
from scalelab.live.study import read
from scalelab.training.progress import LIVE, Whole

Spec = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """A plan of six runs."""
    return plan()


def statuses(folder: Path) -> list[str]:
    """Of the runs, the costliest first."""
    return [job.status for job in read(folder).runs]


def test_before_the_first_run_all_wait(tmp_path: Path, made: dict[str, Any]) -> None:
    text = as_text(read(begin(tmp_path, made)))
    assert text.splitlines()[0] == (
        "study micro: 0 of 6 runs done, 6 waiting (0% of the training FLOPs)"
    )
    assert re.search(r"at work for \d+:\d\d on 2 cores", text)
    assert "the text is not prepared yet" in text
    assert "time left: not known yet" in text


def test_while_it_runs_each_job_is_a_line(tmp_path: Path, made: dict[str, Any]) -> None:
    folder = begin(tmp_path, made)
    ended(tmp_path, made, 0)
    ended(tmp_path, made, 1, "diverged")
    at_work(tmp_path, made, 2, updated=time.time() + 600)  # told just now, however slow this is
    at_work(tmp_path, made, 3, tokens_per_second=None, seconds_left=None, loss_nats=None, step=0)
    at_work(tmp_path, made, 4, **gone())
    assert statuses(folder) == ["ok", "diverged", "running", "running", "stopped", "waiting"]
    lines = as_text(read(folder)).splitlines()
    assert lines[0].startswith("study micro: 2 of 6 runs done, 2 running, 1 stopped, 1 waiting (")
    label, size = made["runs"][2]["label"], made["runs"][2]["N"]
    running = next(line for line in lines if line.startswith(label))
    assert running.split() == (
        f"{label} N={size:,} step 117/234 (50%) loss 4.125 nats 5,000 tokens/s 1:00 left".split()
    )
    assert any(
        line.startswith(made["runs"][3]["label"]) and "just started" in line for line in lines
    )
    assert f"{made['runs'][1]['label']}: diverged, step 7: the loss is not finite" in lines
    assert any(
        line.startswith(f"{made['runs'][4]['label']}: stopped (its process") for line in lines
    )
    assert "\r" not in as_text(read(folder))


def test_after_it_the_results_are_named(tmp_path: Path, made: dict[str, Any]) -> None:
    folder = begin(tmp_path, made)
    for number in range(6):
        ended(tmp_path, made, number)
    assert "all runs are trained, 0 are evaluated" in as_text(read(folder))
    for number in range(6):
        evaluated(tmp_path, made, number)
    (folder / "report.html").touch()
    text = as_text(read(folder))
    assert "6 of 6 runs done (100% of the training FLOPs)" in text
    assert f"see {folder / 'report.html'}" in text


def test_a_workflow_that_has_gone_is_told(tmp_path: Path, made: dict[str, Any]) -> None:
    folder = begin(tmp_path, made)
    live = json.loads((folder / "live.json").read_text())
    for who in (gone(), recycled()):
        write_json(folder / "live.json", {**live, **who})
        study = read(folder)
        assert study.workflow == "gone"
        assert "nothing is at work here: the same snakemake command goes on" in as_text(study)
    write_json(folder / "live.json", {**live, "host": "another-host"})
    assert "started on another-host" in as_text(read(folder))


def test_a_job_on_another_host_counts_while_its_file_is_fresh(
    tmp_path: Path, made: dict[str, Any]
) -> None:
    folder = begin(tmp_path, made)
    at_work(tmp_path, made, 0, host="another-host")
    at_work(tmp_path, made, 1, host="another-host", updated=time.time() - 3600)
    assert statuses(folder)[:2] == ["running", "stopped"]


def test_a_job_that_failed_says_why(tmp_path: Path, made: dict[str, Any]) -> None:
    folder = begin(tmp_path, made)
    at_work(tmp_path, made, 0, **gone(), ended="the disk takes no more", failed=True)
    at_work(tmp_path, made, 1, **gone(), ended="stopped at step 117, state saved", failed=False)
    log = tmp_path / "runs" / made["runs"][2]["id"] / "logs" / "train.log"
    log.parent.mkdir(parents=True)
    log.write_text("words\nthe corpus has 5 tokens, expected 60,000\n")
    old = tmp_path / "runs" / made["runs"][3]["id"] / "logs" / "train.log"
    old.parent.mkdir(parents=True)
    old.write_text("of an earlier workflow\n")
    os.utime(old, (1, 1))
    assert statuses(folder)[:4] == ["failed", "stopped", "failed", "waiting"]
    text = as_text(read(folder))
    assert "failed (the disk takes no more)" in text
    assert "failed (the corpus has 5 tokens, expected 60,000)" in text


def test_a_run_that_is_trained_anew_is_not_done_until_it_is(
    tmp_path: Path, made: dict[str, Any]
) -> None:
    old = ended(tmp_path, made, 0)
    os.utime(old / "run.json", (1, 1))
    folder = begin(tmp_path, made, again=[made["runs"][0]["id"]])
    assert statuses(folder)[0] == "waiting"
    ended(tmp_path, made, 0)
    os.utime(old / "run.json", (time.time() + 5, time.time() + 5))
    assert statuses(folder)[0] == "ok"


def test_a_study_without_live_json_is_read_from_its_plan(
    tmp_path: Path, made: dict[str, Any]
) -> None:
    folder = tmp_path / "micro"
    write_json(folder / "plan.json", made)
    ended(tmp_path, made, 0)
    study = read(folder)
    assert (study.workflow, study.count("ok"), study.count("waiting")) == (None, 1, 5)


def test_time_left_is_that_of_the_speed_so_far(tmp_path: Path, made: dict[str, Any]) -> None:
    """By hand: all sizes at 10,000 tokens/s, 59,904 tokens a run, on one core and on two."""
    folder = begin(tmp_path, made)
    for number in (0, 5):
        ended(tmp_path, made, number)
    study = read(folder)
    assert all(tokens_left(job) == 59_904 for job in study.runs if job.status == "waiting")
    assert seconds_left(study, 1) == pytest.approx(4 * 5.9904)
    assert seconds_left(study, 2) == pytest.approx(2 * 5.9904)
    costs = [item["C"] for item in made["runs"]]
    assert flops_share(study) == pytest.approx((costs[0] + costs[5]) / sum(costs))
    at_work(tmp_path, made, 1, tokens_per_second=10_000.0, updated=time.time() + 600)
    assert seconds_left(read(folder), 1) == pytest.approx(60 + 3 * 5.9904)


def test_the_rounds_of_an_adaptive_study_are_its_runs(tmp_path: Path, made: dict[str, Any]) -> None:
    folder = begin(tmp_path, made, adaptive=True)
    assert "adaptive: no round is decided yet" in as_text(read(folder))
    chosen = [made["runs"][0]["id"], made["runs"][5]["id"]]
    write_json(folder / "rounds" / "0.json", {"runs": chosen, "stop": None})
    study = read(folder)
    assert [job.plan["id"] for job in study.runs] == chosen
    assert "adaptive: 1 rounds decided, so runs may be added" in as_text(study)


def test_trunks_and_lines_of_an_adaptive_study_are_those_of_its_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plan(
        ladder={"widths": [8, 16, 24]},
        design={"kind": "grid", "tokens": [20_000, 60_000]},
        training={
            "batch_tokens": 256,
            "lr": 1e-2,
            "schedule": {"kind": "wsd", "warmup_tokens": 2_000, "share_trunk": True},
        },
    )
    folder = begin(tmp_path, made, adaptive=True)
    short = min(made["runs"], key=lambda item: item["C"])["id"]
    write_json(folder / "rounds" / "0.json", {"runs": [short], "stop": None})
    study = read(folder)
    assert len(study.runs) == 1
    (trunk,) = study.trunks
    assert short in trunk.plan["needed_by"]
    steps = [
        row["steps"] for row in read_json(folder / FILE)["trunks"] if short in row["needed_by"]
    ]
    assert trunk.plan["steps"] == min(steps)
    monkeypatch.setenv(LIVE, str(folder / FILE))
    assert Whole.of_environment().prefix() == "[0/1 done, 0 running] "


@pytest.mark.parametrize("content", ["[]", '{"study": "micro"}'])
def test_an_odd_file_is_one_sentence(
    tmp_path: Path, made: dict[str, Any], content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = begin(tmp_path, made)
    (folder / FILE).write_text(content)
    assert main(["status", "--study", str(folder)]) == 2
    assert "expected" in capsys.readouterr().err


def test_a_study_is_named_from_within_too(
    tmp_path: Path, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begin(tmp_path, made)
    ended(tmp_path, made, 0)
    monkeypatch.chdir(folder)
    assert read(chosen(Path("."))).count("ok") == 1


def test_the_stretches_of_a_trunk_are_jobs(tmp_path: Path) -> None:
    made = plan(
        ladder={"widths": [8]},
        design={"kind": "tokens", "tokens": [20_000, 60_000]},
        training={
            "batch_tokens": 256,
            "lr": 1e-2,
            "schedule": {"kind": "wsd", "warmup_tokens": 2_000, "share_trunk": True},
        },
    )
    folder = begin(tmp_path, made)
    study = read(folder)
    (trunk,) = made["trunks"]
    assert [job.plan["steps"] for job in study.trunks] == sorted(trunk["branches"].values())
    total = sum(job.plan["own_tokens"] for job in study.jobs)
    planned = sum(item["D"] for item in made["runs"])
    assert total == planned - trunk["saved_steps"] * 256, "shared steps count once"
    first = study.trunks[0]
    first.folder.parent.mkdir(parents=True)
    first.folder.with_suffix(".state").touch()
    assert [job.status for job in read(folder).trunks] == ["ok", "waiting"]


def test_json_is_strict_and_whole(
    tmp_path: Path, made: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = begin(tmp_path, made)
    ended(tmp_path, made, 0)
    at_work(tmp_path, made, 1)
    assert main(["status", "--study", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["counts"] == {"running": 1, "ok": 1, "waiting": 4}
    assert (told["runs"], told["done"]) == (6, 1)
    assert told["jobs"][0]["step"] == 117
    curves = {job["id"]: job["curve"] for job in as_json(read(folder))["jobs"]}
    assert list(curves[made["runs"][1]["id"]][-1]) == [25600, 4.5]


def test_the_study_that_was_started_last_is_meant_and_a_bare_name_will_do(
    tmp_path: Path,
    made: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["status"]) == 2
    assert "no study has been started here" in capsys.readouterr().err
    for name, born in (("old", 1.0), ("new", 2.0)):
        folder = begin(tmp_path / "results", {**made, "study": name})
        os.utime(folder / "live.json", (born, born))
    assert main(["status"]) == 0
    assert capsys.readouterr().out.startswith("study new: ")
    assert main(["status", "--study", "old"]) == 0
    assert capsys.readouterr().out.startswith("study old: ")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such folder"),
        ({}, "no study is here"),
        ({"plan.json": "{}"}, "expected a plan that `scalelab plan` wrote"),
        ({"plan.json": "{"}, "expected a JSON file"),
        ({"live.json": '{"study": "x"}'}, "'runs' is missing"),
    ],
)
def test_a_folder_that_is_no_study_is_one_sentence(
    tmp_path: Path,
    content: dict[str, str] | None,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "odd"
    if content is not None:
        folder.mkdir()
        for name, text in content.items():
            (folder / name).write_text(text)
    assert main(["status", "--study", str(folder)]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1
