"""Checks, warnings and refusals: each wrong data set is named for what it is."""

import re

import numpy as np
import pandas as pd
import pytest

from scalelab import laws
from scalelab.errors import UserError
from scalelab.laws import registry
from scalelab.laws.estimation.estimate import estimate
from scalelab.laws.judgement import design, recipes
from scalelab.laws.judgement.heldout import held_out
from scalelab.laws.runs.points import Points, prepare
from scalelab.laws.uncertainty.intervals import Uncertainty

SIZES = np.array([1e5, 3e5, 1e6, 3e6, 1e7, 3e7])
LOSSES = np.array([5.1740, 4.3637, 3.6974, 3.2417, 2.8670, 2.6107])


def ladder(losses=LOSSES, **more) -> pd.DataFrame:
    names = [f"r{place + 1}" for place in range(len(losses))]
    return pd.DataFrame({"run": names, "N": SIZES[: len(losses)], "loss_nats": losses, **more})


def changed(place: int, loss: float) -> np.ndarray:
    losses = LOSSES.copy()
    losses[place] = loss
    return losses


def check(result: laws.FitResult, name: str) -> dict:
    found = [row for row in result.block["checklist"] if row["check"] == name]
    assert len(found) == 1, name
    return found[0]


def test_an_undertrained_largest_run_is_named():
    result = laws.fit("power_offset", ladder(changed(5, 2.8607)))
    line = check(result, "leave one out")
    assert not line["ok"] and line["message"].startswith("r6 (N 3e+07) stands off")
    assert abs(result.block["points"][5]["leave_one_out"]["alpha"]) > 1
    assert "r6" in check(result, "residuals")["message"]


def test_a_clean_ladder_raises_no_alarm():
    result = laws.fit("power_offset", ladder())
    failed = {row["check"] for row in result.block["checklist"] if not row["ok"]}
    assert failed == {"seed noise"} and result.warnings == ()


def test_a_diverged_run_is_left_out_by_name():
    rows = ladder(changed(4, 7.9), status=["ok"] * 4 + ["diverged", "ok"])
    result = laws.fit("power_offset", rows.assign(reason="step 40", id="abc"))
    assert result.params["alpha"] == pytest.approx(0.25, abs=0.002)
    assert result.block["excluded"] == [{"id": "abc", "label": "r5", "reason": "diverged: step 40"}]
    assert "r5" in check(result, "excluded")["message"]


def test_a_diverged_run_without_a_status_cannot_pass_for_a_law():
    result = laws.fit("power_offset", ladder(changed(4, 7.9)))
    assert "r5" in check(result, "loss falls")["message"]
    assert "r5" in check(result, "leave one out")["message"]
    assert any("do not follow this law" in text for text in result.warnings)
    assert result.intervals["alpha"][1] is None


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_is_left_out_by_name(loss):
    result = laws.fit("power_offset", ladder(changed(4, loss)))
    assert [row["label"] for row in result.block["excluded"]] == ["r5"]
    assert len(result.block["points"]) == 5


def test_as_many_sizes_as_parameters_leave_no_degrees_of_freedom():
    with pytest.raises(UserError, match="3 sizes, 3 parameters: no degrees of freedom"):
        laws.fit("power_offset", ladder().iloc[[0, 2, 4]])


def test_rows_of_one_size_are_refused_with_the_column():
    with pytest.raises(UserError, match="column N holds one value"):
        laws.fit("power_offset", ladder().assign(N=1e6))


def test_loss_that_rises_is_no_law():
    with pytest.raises(UserError, match="loss does not fall with N: no law fitted"):
        laws.fit("power_offset", ladder([3.0, 3.1, 3.2, 3.3, 3.4, 3.5]))


def test_equal_losses_are_no_law():
    with pytest.raises(UserError, match="does not fall"):
        laws.fit("power", ladder([3.0] * 6))


@pytest.mark.parametrize("places", [[3, 4, 5], [0, 1, 2], [2], [0, 5]])
def test_losses_in_mixed_units_are_refused_or_named(places):
    losses = LOSSES.copy()
    losses[places] /= np.log(2)
    if places == [0, 5]:
        result = laws.fit("power_offset", ladder(losses))
        assert any("do not follow this law" in text for text in result.warnings)
        return
    with pytest.raises(UserError, match="units seem mixed") as error:
        laws.fit("power_offset", ladder(losses))
    assert f"r{places[0] + 1}" in str(error.value)


def test_perplexity_given_as_loss_is_refused():
    with pytest.raises(UserError, match="too large for a loss in nats"):
        laws.fit("power_offset", ladder(np.exp(LOSSES)))


@pytest.mark.parametrize("column", ["corpus", "context", "tokenizer", "vocab"])
def test_rows_of_different_evaluations_are_not_fitted_together(column):
    rows = ladder(**{column: [128] * 5 + [256]})
    with pytest.raises(UserError, match=f"rows differ in {column}"):
        laws.fit("power_offset", rows)


def test_a_set_is_compared_by_its_own_text():
    texts = {"news:text_sha256": ["ab"] * 5 + ["cd"], "eval_text_sha256": ["ef"] * 6}
    rows = ladder().rename(columns={"loss_nats": "news:loss_nats"}).assign(**texts)
    with pytest.raises(UserError, match="rows differ in news:text_sha256"):
        laws.fit("power_offset", rows, y="news:loss_nats")
    texts = {"news:text_sha256": ["ab"] * 6, "eval_text_sha256": ["ab"] * 5 + ["cd"]}
    laws.fit("power_offset", rows.assign(**texts), y="news:loss_nats")


def test_bits_per_byte_may_compare_vocabularies():
    texts = {"tokenizer": ["a"] * 5 + ["b"], "eval_text_sha256": ["ab"] * 5 + ["cd"]}
    rows = ladder(vocab=[128] * 5 + [256], **texts)
    rows = rows.rename(columns={"loss_nats": "bits_per_byte"})
    result = laws.fit("power_offset", rows, y="bits_per_byte")
    assert "predicted_bits_per_byte" in result.block["points"][0]
    assert "bits_per_byte" in result.summary()


@pytest.mark.parametrize("value", [0, -5, "abc", None, np.inf, True])
def test_a_size_that_is_no_positive_number_is_named_with_its_row(value):
    rows = ladder()
    rows["N"] = [*SIZES[:2], value, *SIZES[3:]]
    with pytest.raises(UserError, match="r3, column N: found"):
        laws.fit("power_offset", rows.astype({"N": object}))


def test_a_loss_of_zero_is_named_with_its_row():
    with pytest.raises(UserError, match="r2, column loss_nats: found 0"):
        laws.fit("power_offset", ladder(changed(1, 0.0)))


def test_a_missing_column_suggests_the_near_one():
    with pytest.raises(UserError, match="did you mean 'loss_nat'"):
        laws.fit("power", ladder().rename(columns={"loss_nats": "loss_nat"}))
    with pytest.raises(UserError, match="'params' does not say whether embeddings"):
        laws.fit("power", ladder().rename(columns={"N": "params"}))


def test_an_empty_table_and_a_table_of_failures_are_refused():
    with pytest.raises(UserError, match="no rows"):
        laws.fit("power", ladder().iloc[:0])
    with pytest.raises(UserError, match="no row is left"):
        laws.fit("power", ladder(status="diverged"))


def test_few_sizes_over_a_short_span_are_told():
    result = laws.fit("power_offset", ladder().iloc[1:5])
    assert not check(result, "sizes")["ok"] and not check(result, "span")["ok"]


def test_embedding_dominated_sizes_are_named():
    rows = ladder(N_total=SIZES * 1.5, N_embedding=SIZES * [2, 1, 0.1, 0.1, 0.1, 0.1])
    line = check(laws.fit("power_offset", rows), "embedding share")
    assert not line["ok"] and "r1" in line["message"] and "r3" not in line["message"]


@pytest.mark.parametrize(
    "tokens,ok,text",
    [
        (4e6 * np.ones(6), True, "same D = 4e\\+06"),
        (20 * SIZES, True, "D / N = 20"),
        (SIZES**0.5 * 1e4, False, "neither D nor D / N"),
    ],
)
def test_the_design_is_named_and_what_it_means(tokens, ok, text):
    line = check(laws.fit("power_offset", ladder(D=tokens)), "design")
    assert line["ok"] is ok
    assert re.search(text, line["message"])


def sweep(*trials: tuple[float, float]) -> pd.DataFrame:
    """A ladder for each (learning rate, factor of the losses)."""
    return pd.concat([ladder(LOSSES * factor, lr=lr) for lr, factor in trials], ignore_index=True)


@pytest.mark.parametrize(
    "trials,ok,text",
    [
        ([(1e-4, 1.1), (1e-3, 1.0), (1e-2, 1.2)], True, "lies inside each of 6 sweeps"),
        ([(1e-4, 1.0), (1e-3, 1.1), (1e-2, 1.2)], False, "r1 (N 1e+05) at the lowest, 0.0001"),
        ([(1e-4, 1.2), (1e-2, 1.0)], False, "at the highest, 0.01"),
    ],
)
def test_a_best_learning_rate_at_the_edge_of_its_sweep_is_told(trials, ok, text):
    """Case T02."""
    line = check(laws.fit("power_offset", sweep(*trials)), "learning rate")
    assert line["ok"] is ok and text in line["message"]


def test_a_table_without_a_sweep_has_no_line_on_learning_rates():
    checks = {c["check"] for c in laws.fit("power_offset", ladder(lr=1e-3)).block["checklist"]}
    assert not checks & {"learning rate", "undertrained"}


@pytest.mark.parametrize(
    "columns,text",
    [
        ({"D": [1e6, 1e6, 1e6, 1e6, 1e6, 1e6]}, "fewer tokens than parameters at r4"),
        ({"vocab": 100}, "no better than guessing, ln of vocab, at r1 (N 1e+05)"),
        ({"steps": 1000, "warmup_steps": [50] * 5 + [300]}, "over a tenth of the run at r6"),
    ],
)
def test_undertrained_runs_are_named(columns, text):
    line = check(laws.fit("power_offset", ladder(**columns)), "undertrained")
    assert not line["ok"] and text in line["message"]


def test_runs_that_saw_more_tokens_than_parameters_are_not_undertrained():
    rows = ladder(D=20 * SIZES, vocab=50257, steps=1000, warmup_steps=50)
    assert check(laws.fit("power_offset", rows), "undertrained")["ok"]


@pytest.mark.parametrize(
    "columns,text",
    [
        ({"steps": [100] * 5 + [50], "schedule_steps": 100}, "ends later than the run at r6"),
        ({"step": [100] * 5 + [90], "steps": 100}, "ends later than the run at r6"),
        ({"final": [True] * 5 + [False]}, "column final says no at r6"),
    ],
)
def test_a_schedule_that_is_not_matched_to_the_tokens_is_told(columns, text):
    line = check(laws.fit("power_offset", ladder(**columns)), "schedule")
    assert not line["ok"] and text in line["message"]


def surface(n: np.ndarray, d: np.ndarray, **more) -> pd.DataFrame:
    """1.69 + 406.4/N^0.34 + 410.7/D^0.28 with rounding for noise."""
    losses = (1.69 + 406.4 * n**-0.34 + 410.7 * d**-0.28).round(3)
    return pd.DataFrame({"N": n, "D": d, "loss_nats": losses, **more})


def points(rows: pd.DataFrame) -> Points:
    return prepare(rows, ("N", "D"), "loss_nats")


def test_checkpoints_taken_for_runs_are_told():
    n, d = (v.ravel() for v in np.meshgrid([1e6, 3e6, 1e7, 3e7], [1e8, 3e8, 1e9]))
    rows = surface(n, d, run_id=[f"{size:g}" for size in n])
    line = recipes.schedule(points(rows))
    assert not line["ok"] and "checkpoints of 4 runs (column run_id)" in line["message"]
    own = rows.assign(run_id=[str(i) for i in range(len(n))])
    assert recipes.schedule(points(own))["ok"]


def test_tokens_of_under_a_decade_or_bound_to_sizes_hardly_identify_a_law():
    n, d = (v.ravel() for v in np.meshgrid([1e6, 1e7, 1e8], [1e8, 2e8, 4e8]))
    line = design.identification(points(surface(n, d)))
    assert not line["ok"] and line["message"].startswith("D spans 0.60 decades")
    sizes = np.geomspace(1e6, 1e9, 12)
    bound = surface(sizes, 20 * sizes * np.tile([0.8, 1.25], 6))
    line = design.identification(points(bound))
    assert not line["ok"] and "N and D go together" in line["message"]
    n, d = (v.ravel() for v in np.meshgrid([1e6, 1e7, 1e8], [1e8, 1e9, 1e10]))
    assert design.identification(points(surface(n, d)))["ok"]


def test_flop_budgets_whose_best_size_is_at_the_edge_are_told():
    budgets = np.array([1e17, 1e18, 1e19])
    # The optima of the law are 2.9e7, 8.1e7 and 2.3e8 parameters.
    inside = np.geomspace(4e6, 1.5e9, 6)
    outside = inside / 100
    for sizes, ok in ((inside, True), (outside, False)):
        n, c = (v.ravel() for v in np.meshgrid(sizes, budgets))
        line = design.profile_edge(points(surface(n, c / 6 / n)))
        assert line["ok"] is ok
    assert "in 3 of 3 IsoFLOP profiles" in line["message"] and "C = 1e+17" in line["message"]
    assert design.profile_edge(points(surface(inside, 20 * inside))) is None


def test_misfit_above_seed_noise_is_told():
    fine = pd.concat([ladder(seed=1), ladder(LOSSES * 1.004, seed=2)])
    assert check(laws.fit("power_offset", fine), "seed noise")["ok"]
    bent = LOSSES * [1, 1.03, 1, 0.97, 1, 1.03]
    rows = pd.concat([ladder(bent, seed=1), ladder(bent * 1.0005, seed=2)])
    line = check(laws.fit("power_offset", rows), "seed noise")
    assert not line["ok"] and "more than noise explains" in line["message"]


def test_one_bad_size_off_the_falling_curve_is_named_in_two_dimensions():
    pairs = [(n, d) for n in (1e6, 1e7, 1e8) for d in (2e7, 2e8, 2e9)]
    x = np.array(pairs)
    losses = 1.69 + 406.4 * x[:, 0] ** -0.34 + 410.7 * x[:, 1] ** -0.28
    losses[4] += 2.2
    rows = pd.DataFrame({"N": x[:, 0], "D": x[:, 1], "loss_nats": losses})
    line = check(laws.fit("chinchilla", rows), "loss falls")
    assert not line["ok"] and "row 5" in line["message"]


@pytest.mark.parametrize(
    "objective,delta", [("hubber", None), ("least_squares", 1e-3), ("huber", 0)]
)
def test_objectives_that_make_no_sense_are_refused(objective, delta):
    with pytest.raises(UserError, match=r"objective|delta"):
        laws.fit("power", ladder(), objective=objective, delta=delta)


def test_the_largest_size_is_predicted_at_each_of_its_token_counts():
    n, d = (v.ravel() for v in np.meshgrid([1e6, 3e6, 1e7, 3e7], [1e8, 1e9, 1e10]))
    rows = surface(n, d)
    found = points(rows)
    best = estimate(registry.get("chinchilla"), found.x, found.log_loss)
    sure = Uncertainty(best, "profile", found.cluster)
    held = held_out(best, found, sure, 0.95)
    assert held is not None and held["left_out"] == [3e7, 1e10] and held["fitted_on"] == 9
    assert [(row["N"], row["D"]) for row in held["points"]] == [(3e7, v) for v in (1e8, 1e9, 1e10)]
    assert held["predicted_nats"] == held["points"][-1]["predicted_nats"]
    assert abs(held["error_relative"]) < 2e-3 and held["rms_error_relative"] < 2e-3
    assert held["inside"] == sum(row["inside"] for row in held["points"])
    assert held_out(best, found, sure, 0.95, sizes=2) is None, "two sizes determine no exponent"


def test_the_k_largest_sizes_are_left_out_together():
    found = prepare(ladder(), ("N",), "loss_nats")
    best = estimate(registry.get("power_offset"), found.x, found.log_loss)
    held = held_out(best, found, Uncertainty(best, "profile", found.cluster), 0.95, sizes=2)
    assert held is not None and [row["N"] for row in held["points"]] == [1e7, 3e7]
    assert held["left_out"] == [3e7] and held["fitted_on"] == 4 and held["sizes_left_out"] == 2
    assert held["predicted_nats"] == pytest.approx(2.6107, abs=2e-3)


def test_one_more_size_is_left_out_each_time_as_long_as_the_noise_is_known():
    sizes = np.geomspace(1e4, 1e6, 8)
    rows = pd.DataFrame({"N": sizes, "loss_nats": 1.5 + 20 * sizes**-0.2})
    rows["loss_nats"] *= 1 + 1e-4 * np.tile([1, -1], 4)
    block = laws.fit("power_offset", rows).block
    series = block["heldout_series"]
    assert [one["sizes_left_out"] for one in series] == [1, 2, 3], "four of five sizes is luck"
    assert [one["fitted_on"] for one in series] == [7, 6, 5]
    assert series[0] == block["heldout"]
    for one in series:
        assert [row["N"] for row in one["points"]] == list(sizes[-one["sizes_left_out"] :])
    few = laws.fit("power_offset", rows.iloc[:5]).block
    assert [one["sizes_left_out"] for one in few["heldout_series"]] == [1], "what heldout gives"


def test_intervals_say_that_they_rest_on_the_form():
    result = laws.fit("power_offset", ladder())
    assert result.block["interval_note"].startswith("conditional on the form of the law")
    assert "hold if the form does" in result.summary()
