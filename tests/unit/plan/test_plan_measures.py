"""Measures in a plan: ids of their own, and no change of anything else."""

from pathlib import Path

from test_plan_runs import plan, refusal

from scalelab.plan.command import as_json
from scalelab.plan.measures import WRITING, names, processes_of
from scalelab.plan.tasks import OWN


def test_measures_change_neither_runs_nor_how_they_are_evaluated() -> None:
    without, having = plan({}), plan({"evaluation.measures": list(names())})
    assert [run.id for run in having.runs] == [run.id for run in without.runs]
    assert having.evaluation_id == without.evaluation_id
    assert "measures" not in as_json(without)
    assert [one["measure"] for one in as_json(having)["measures"].values()] == list(names())
    asked = [one["answer"] for one in having.answers[-3:]]
    assert asked == ["trend", "compression", "downstream"]
    assert {"measures", "compression", "speed", "tasks"} <= {*having.figures}
    plain = plan({"evaluation.measures": ["calibration"]})
    assert plain.answers[-1] == {"answer": "trend"} and not (
        {"compression", "speed", "tasks"} & {*plain.figures}
    )


def test_an_unknown_measure_is_one_sentence_with_the_near_one() -> None:
    said = refusal({"evaluation.measures": ["inducton"]})
    assert "evaluation.measures: found 'inducton'" in said and "did you mean 'induction'" in said


def test_writers_are_of_large_runs_and_change_no_identity() -> None:
    asked = {"evaluation.measures": ["calibration", "generation"], "compute.large_from": 1000}
    one, two = plan(asked), plan(asked | {"compute.large_writers": 2})
    assert one.measures == two.measures
    assert [run.spec for run in one.runs] == [run.spec for run in two.runs]
    found = {
        (name, n): processes_of(two.study, name, n) for name in names() for n in (999, 1000, 10**9)
    }
    assert {key for key, processes in found.items() if processes == 2} == {
        (name, n) for name in WRITING for n in (1000, 10**9)
    }
    assert {*found.values()} == {1, 2}
    assert {*WRITING} <= {*names()}


def test_tasks_are_settings_of_their_measure_alone(tmp_path: Path) -> None:
    asked = {"evaluation.measures": ["calibration", "tasks"]}
    plain, some = plan(asked), plan(asked | {"evaluation.tasks": ["span", "arc_easy", "span"]})
    assert plain.evaluation_id == some.evaluation_id == plan({}).evaluation_id
    ids = [[*one.measures] for one in (plain, some)]
    assert ids[0][0] == ids[1][0] and ids[0][1] != ids[1][1]
    assert plain.measures[ids[0][1]]["tasks"] == list(OWN)
    assert some.measures[ids[1][1]]["tasks"] == ["span", "arc_easy"]
    assert "tasks" not in plain.measures[ids[0][0]]
    (tmp_path / "mine.yaml").write_text("task: mine\n")
    asked |= {"evaluation.tasks": ["mine"], "evaluation.tasks_folder": str(tmp_path)}
    (_, first), (_, same) = plan(asked).measures, plan(asked).measures
    (tmp_path / "mine.yaml").write_text("task: mine\nnum_fewshot: 2\n")
    (_, changed) = plan(asked).measures
    assert first == same != changed


def test_tasks_that_are_not_measured_and_folders_that_are_not_there_are_refused(
    tmp_path: Path,
) -> None:
    said = refusal({"evaluation.tasks": ["cloze"]})
    assert "evaluation.tasks: found without the measure" in said and "measures: [tasks]" in said
    missing = {"evaluation.measures": ["tasks"], "evaluation.tasks_folder": "nowhere"}
    assert "evaluation.tasks_folder: found 'nowhere', expected a folder" in refusal(missing)
    empty = missing | {"evaluation.tasks_folder": str(tmp_path)}
    assert "holds no file" in refusal(empty)
