"""Checks, warnings and refusals: each wrong data set is named for what it is."""

import re

import numpy as np
import pandas as pd
import pytest

from scalelab import laws
from scalelab.errors import UserError

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


def test_bits_per_byte_may_compare_vocabularies():
    rows = ladder(vocab=[128] * 5 + [256]).rename(columns={"loss_nats": "bits_per_byte"})
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


def test_other_settings_at_one_size_are_told():
    rows = pd.concat([ladder(lr=1e-3), ladder(changed(2, 3.8), lr=3e-3).iloc[[2]]])
    line = check(laws.fit("power_offset", rows), "settings")
    assert not line["ok"] and "lr at r3" in line["message"]


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
