"""Measures in a plan: ids of their own, and no change of anything else."""

from test_plan_runs import plan, refusal

from scalelab.plan.command import as_json
from scalelab.plan.measures import names


def test_measures_change_neither_runs_nor_how_they_are_evaluated() -> None:
    without, having = plan({}), plan({"evaluation.measures": list(names())})
    assert [run.id for run in having.runs] == [run.id for run in without.runs]
    assert having.evaluation_id == without.evaluation_id
    assert "measures" not in as_json(without)
    assert [one["measure"] for one in as_json(having)["measures"].values()] == list(names())
    assert having.answers[-2:] == ({"answer": "trend"}, {"answer": "compression"})
    assert {"measures", "compression"} <= {*having.figures}
    plain = plan({"evaluation.measures": ["calibration"]})
    assert plain.answers[-1] == {"answer": "trend"} and "compression" not in plain.figures


def test_an_unknown_measure_is_one_sentence_with_the_near_one() -> None:
    said = refusal({"evaluation.measures": ["inducton"]})
    assert "evaluation.measures: found 'inducton'" in said and "did you mean 'induction'" in said
