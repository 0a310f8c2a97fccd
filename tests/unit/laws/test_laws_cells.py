"""Several rows at one x: checkpoints, trials, seeds, and rows that nothing tells apart."""

import numpy as np
import pandas as pd
import pytest

from scalelab import laws
from scalelab.errors import UserError
from scalelab.laws.runs.cells import EARLIER, NOT_BEST, NOT_LAST, SHORTER
from scalelab.laws.runs.points import Points, prepare

SIZES = np.array([1e5, 3e5, 1e6, 3e6, 1e7, 3e7])
LOSSES = np.array([5.1740, 4.3637, 3.6974, 3.2417, 2.8670, 2.6107])


def ladder(losses=LOSSES, **more) -> pd.DataFrame:
    return pd.DataFrame({"N": SIZES, "loss_nats": losses, **more})


def points(*frames: pd.DataFrame, cell: str | None = None, x=("N",)) -> Points:
    return prepare(pd.concat(frames, ignore_index=True), x, "loss_nats", cell=cell)


def losses(found: Points) -> list[float]:
    return np.exp(found.log_loss).round(6).tolist()


def test_trials_of_a_learning_rate_leave_the_best_of_each_size():
    found = points(ladder(LOSSES * 1.2, lr=1e-4), ladder(lr=1e-3), ladder(LOSSES * 1.001, lr=3e-3))
    assert losses(found) == LOSSES.tolist()
    assert len(found.cells.aside[NOT_BEST]) == 12 and found.cells.by == ("lr",)
    assert found.cells.averaged == 0 and not found.cells.guessed


def test_the_best_setting_is_judged_by_the_mean_of_its_seeds_and_keeps_them_all():
    # The lowest single loss belongs to the worse learning rate.
    good = [ladder(LOSSES * f, lr=1e-3, seed=s) for s, f in ((1, 1.0), (2, 1.002))]
    bad = [ladder(LOSSES * f, lr=1e-2, seed=s) for s, f in ((1, 0.99), (2, 1.1))]
    found = points(*good, *bad)
    assert found.seeds == (2,) * 6 and found.cells.averaged == 6
    assert losses(found) == pytest.approx((LOSSES * np.sqrt(1.002)).round(6), abs=2e-6)
    assert len(found.cells.aside[NOT_BEST]) == 12


def test_seeds_are_averaged_however_far_they_lie_apart():
    found = points(ladder(seed=1), ladder(LOSSES * 1.2, seed=2))
    assert found.cells.aside == {} and found.seeds == (2,) * 6
    assert losses(found) == pytest.approx((LOSSES * np.sqrt(1.2)).round(6), abs=2e-6)


@pytest.mark.parametrize("factor,kept,guessed", [(1.001, 2, False), (1.3, 1, True)])
def test_rows_that_nothing_tells_apart_are_seeds_only_if_they_are_close(factor, kept, guessed):
    found = points(ladder(), ladder(LOSSES * factor))
    assert found.seeds == (kept,) * 6 and found.cells.guessed is guessed
    assert len(found.cells.aside.get(NOT_BEST, ())) == 6 * (kept == 1)


def test_the_last_checkpoint_of_a_run_stays_and_never_the_lowest():
    curves = [
        ladder(LOSSES + gap, run_id=list("abcdef"), step=step)
        for step, gap in ((100, 0.2), (200, -0.05), (300, 0.0))
    ]
    found = points(*curves)
    assert losses(found) == LOSSES.tolist()
    assert set(found.cells.aside) == {EARLIER} and len(found.cells.aside[EARLIER]) == 12
    without_names = points(*(frame.drop(columns="run_id") for frame in curves))
    assert losses(without_names) == LOSSES.tolist() and set(without_names.cells.aside) == {SHORTER}


def test_checkpoints_go_first_and_then_trials():
    rows = [
        ladder(LOSSES * factor + gap, run_id=[f"{name}{i}" for i in range(6)], D=tokens, lr=lr)
        for name, lr, factor in (("a", 1e-3, 1.0), ("b", 1e-2, 1.1))
        for tokens, gap in ((1e8, 0.3), (2e8, 0.0))
    ]
    found = points(*rows)
    assert losses(found) == LOSSES.tolist()
    assert {reason: len(names) for reason, names in found.cells.aside.items()} == {
        EARLIER: 12,
        NOT_BEST: 6,
    }


def test_the_sizes_of_a_flop_budget_leave_the_best_for_a_law_of_flops():
    budgets = np.array([1e15, 1e16, 1e17, 1e18])
    rows = pd.DataFrame(
        {
            "N": [n * c**0.5 for c in budgets for n in (0.05, 0.1, 0.2)],
            "C": [c for c in budgets for _ in range(3)],
            "loss_nats": [v * c**-0.05 for c in budgets for v in (22, 20, 23)],
        }
    )
    found = points(rows, x=("C",))
    assert losses(found) == pytest.approx((20 * budgets**-0.05).round(6))
    assert len(found.cells.aside[NOT_BEST]) == 8 and found.cells.by == ("N",)


def test_a_rule_of_the_caller_goes_before_the_columns():
    trials = ladder(lr=1e-3, step=100), ladder(LOSSES * 1.1, lr=1e-2, step=200)
    assert losses(points(*trials, cell="mean")) == pytest.approx(
        (LOSSES * np.sqrt(1.1)).round(6), abs=2e-6
    )
    last = points(*trials, cell="last")
    assert losses(last) == (LOSSES * 1.1).round(6).tolist() and set(last.cells.aside) == {NOT_LAST}
    seeds = ladder(seed=1), ladder(LOSSES * 1.1, seed=2)
    assert losses(points(*seeds, cell="best")) == LOSSES.tolist()


def test_a_rule_that_cannot_be_followed_is_refused():
    with pytest.raises(UserError, match="cell 'bests' is unknown: expected one of auto, best"):
        points(ladder(seed=1), ladder(LOSSES * 1.1, seed=2), cell="bests")
    with pytest.raises(UserError, match="cell last needs a column that tells an order"):
        points(ladder(seed=1), ladder(LOSSES * 1.1, seed=2), cell="last")


def test_what_was_set_aside_is_told_in_the_checklist_and_the_json():
    rows = pd.concat([ladder(lr=1e-3), ladder(LOSSES * 1.1, lr=1e-2)], ignore_index=True)
    result = laws.fit("power_offset", rows.iloc[:9])
    line = next(c for c in result.block["checklist"] if c["check"] == "rows per point")
    assert line["message"] == (
        "3 rows not best of their cell (row 7, row 8, row 9), which differ in lr"
    )
    aside = {"not best of their cell": {"rows": 3, "names": ["row 7", "row 8", "row 9"]}}
    assert not line["ok"] and result.block["set_aside"] == aside
    again = laws.restore(result.to_json())
    assert again is not None and again.block["set_aside"] == aside
    mean = laws.fit("power_offset", rows, cell="mean")
    assert mean.block["set_aside"] == {} and mean.block["settings"]["cell"] == "mean"


def test_missing_tokens_are_taken_from_flops_and_it_is_said():
    pairs = [(n, d) for n in (1e6, 1e7, 1e8, 1e9) for d in (2e7, 2e8, 2e9)]
    n, d = np.array(pairs).T
    rows = pd.DataFrame({"N": n, "C": 6 * n * d, "loss_nats": 1.69 + 400 / n**0.34 + 400 / d**0.28})
    found = prepare(rows, ("N", "D"), "loss_nats")
    assert found.x[:, 1] == pytest.approx(d, rel=1e-12)
    assert found.notes == ("D is not given: D = C / (6 N) is taken for it",)
    with pytest.raises(UserError, match="column 'D' is missing"):
        prepare(rows.drop(columns="C"), ("N", "D"), "loss_nats")
