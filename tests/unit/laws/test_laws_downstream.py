"""The answer downstream: parameters that the data were made with, and what no law is fitted to."""

import numpy as np
import pandas as pd
import pytest

from scalelab.errors import UserError
from scalelab.laws import fit
from scalelab.laws.answers.downstream import downstream
from scalelab.laws.answers.registry import Material
from scalelab.laws.answers.trend import trend
from scalelab.laws.answers.words import describe

CHANCE, K, GAMMA = 0.25, 1.5, 0.8


def accuracy(loss):
    """Gadre et al. 2024, equation 5, with epsilon the error of chance."""
    return CHANCE + K * np.exp(-GAMMA * loss)


def table(noise=1e-4, sizes=9):
    generator = np.random.default_rng(6)
    n = np.geomspace(1e4, 1e6, sizes)
    loss = 1.4 + 2.6 * (n / 1e4) ** -0.2
    return pd.DataFrame(
        {
            **{"N": n, "D": 2e6, "loss_nats": loss, "status": "ok"},
            "tasks/choice_accuracy": accuracy(loss) + noise * generator.standard_normal(sizes),
            **{"tasks/choice_accuracy_se": 0.01, "tasks/choice_chance": CHANCE},
            **{"tasks/choice_margin_nats": 3 - loss, "tasks/choice_margin_nats_se": 0.1},
            **{"tasks/cloze_accuracy": 0.0, "tasks/cloze_accuracy_se": 0.0},
            **{"tasks/cloze_chance": 0.0, "tasks/cloze_nats": 1.1 * loss},
            **{"tasks/odd_accuracy": 0.3, "generation/right": 0.5},
        }
    )


def rows_of(block):
    return {row["task"]: row for row in block["rows"]}


def test_parameters_come_back_and_chance_is_held():
    row = rows_of(downstream(Material(table(noise=0.003)), {}))["choice"]
    law = row["law"]
    assert law["params"]["epsilon"] == 1 - CHANCE and "epsilon" not in law["intervals"]
    for name, truth in (("k", K), ("gamma", GAMMA)):
        low, high = law["intervals"][name]
        assert low < truth < high
    assert law["params"]["gamma"] == pytest.approx(GAMMA, rel=0.15)
    for loss, value, low, high in law["line"]:
        assert low < value < high and value == pytest.approx(accuracy(loss), abs=0.006)
    assert row["continuous"] == "margin_nats" and len(row["runs"]) == 9
    assert row["runs"][0] == {
        "N": pytest.approx(1e4),
        "loss": pytest.approx(4.0),
        "accuracy": pytest.approx(accuracy(4.0), abs=0.01),
        "accuracy_se": 0.01,
        "continuous": pytest.approx(-1.0),
        "continuous_se": 0.1,
    }


def test_the_run_of_least_loss_is_predicted_from_the_others():
    runs = table()
    exact = rows_of(downstream(Material(runs), {}))["choice"]["law"]["heldout"]
    assert exact["left_out"] == [runs["loss_nats"].min()]
    assert exact["predicted"] == pytest.approx(exact["observed"], abs=1e-3)
    runs.loc[8, "tasks/choice_accuracy"] += 0.1
    moved = rows_of(downstream(Material(runs), {}))["choice"]["law"]["heldout"]
    assert moved["observed"] - moved["predicted"] == pytest.approx(0.1, abs=1e-3)
    assert moved["interval"][0] <= moved["predicted"] <= moved["interval"][1]


def test_by_a_law_of_the_loss_accuracy_is_one_of_size_too():
    runs = table()
    assert rows_of(downstream(Material(runs), {}))["choice"]["law"]["by_size"] == []
    of_loss = fit("power_offset", runs, x="N")
    of_tokens = fit("power_offset", runs.assign(D=runs["N"]), x="D")
    block = downstream(Material(runs, (of_tokens, of_loss)), {})
    line = rows_of(block)["choice"]["law"]["by_size"]
    assert line[0][0] == pytest.approx(1e4) and line[-1][0] == pytest.approx(1e6)
    for n, value in line:
        assert value == pytest.approx(accuracy(1.4 + 2.6 * (n / 1e4) ** -0.2), abs=1e-3)


def test_what_no_model_can_do_or_whose_chance_is_unknown_has_no_law():
    block = downstream(Material(table()), {})
    rows = rows_of(block)
    assert rows["cloze"]["law"] is rows["odd"]["law"] is None
    assert rows["cloze"]["continuous"] == "nats" and rows["odd"]["continuous"] is None
    assert rows["cloze"]["reason"] == (
        "the best accuracy, 0, is not 3 standard errors above the 0 of chance"
    )
    assert block["warnings"] == [
        f"cloze: no law, {rows['cloze']['reason']}",
        "odd: no law, the accuracy of chance is not known",
    ]
    said = describe({"answer": "downstream", **block})
    assert "The accuracy of choice goes from 0.311 at the smallest size to" in said
    assert "warning: cloze: no law" in said


def test_few_losses_failed_runs_and_perfect_scores():
    few = rows_of(downstream(Material(table(sizes=3)), {}))["choice"]
    assert few["reason"] == "3 losses, a law needs 4"
    runs = table()
    runs.loc[3:, "status"] = "diverged"
    assert len(rows_of(downstream(Material(runs), {}))["choice"]["runs"]) == 3
    runs = table()
    runs.loc[8, "tasks/choice_accuracy"] = 1.0
    perfect = rows_of(downstream(Material(runs), {}))["choice"]
    assert perfect["law"] is None and perfect["reason"] == "an accuracy of 1 leaves no error to fit"


def test_an_accuracy_that_falls_with_size_is_said():
    runs = table()
    runs["tasks/choice_accuracy"] = runs["tasks/choice_accuracy"].to_numpy()[::-1]
    row = rows_of(downstream(Material(runs), {}))["choice"]
    assert row["law"] is None and "does not rise with loss_nats" in row["reason"]


def test_bad_input_is_one_sentence():
    with pytest.raises(UserError, match="no accuracy of a task"):
        downstream(Material(table()[["N", "loss_nats"]]), {})
    with pytest.raises(UserError, match="loss_nats"):
        downstream(Material(table().drop(columns="loss_nats")), {})
    with pytest.raises(UserError, match="level is 2"):
        downstream(Material(table()), {"level": 2})


def test_chance_has_no_trend():
    columns = {row["column"] for row in trend(Material(table()), {})["rows"]}
    assert "tasks/choice_accuracy" in columns and "tasks/choice_chance" not in columns
