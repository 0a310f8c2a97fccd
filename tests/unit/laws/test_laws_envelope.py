"""The lower envelope of training curves of a known law."""

import json

import numpy as np
import pandas as pd
import pytest

from scalelab.errors import UserError
from scalelab.laws.allocation.envelope import envelope

SHARE = 0.28 / 0.62


def loss_of(n, d):
    return 1.69 + 406.4 * n**-0.34 + 410.7 * d**-0.28


def curves(sizes=12, least=0.5, most=400.0, rows=60, smallest=1e6, largest=1e9) -> pd.DataFrame:
    """A curve a size, from `least` to `most` tokens per parameter."""
    found = []
    for place, n in enumerate(np.geomspace(smallest, largest, sizes)):
        for d in n * np.geomspace(least, most, rows):
            found.append((f"run{place}", n, d, loss_of(n, d)))
    return pd.DataFrame(found, columns=["run", "N", "D", "loss_nats"])


def test_exponents_and_sizes_are_those_of_the_law():
    found = envelope(curves())
    pairs = found.frontier
    assert pairs.n_law.exponent == pytest.approx(SHARE, abs=1e-3)
    assert pairs.d_law.exponent == pytest.approx(1 - SHARE, abs=1e-3)
    best = (0.34 * 406.4 / (0.28 * 410.7)) ** (1 / 0.62) * (pairs.flops / 6) ** SHARE
    assert pairs.n_opt == pytest.approx(best, rel=5e-3)
    assert pairs.n_law.points == 10 and found.runs == 12
    true = loss_of(best_n := pairs.at(1e19)["N"][0], 1e19 / 6 / best_n)
    assert pairs.at(1e19)["loss"][0] == pytest.approx(true, rel=3e-3)


def test_no_curve_lies_below_the_envelope():
    found = envelope(curves(), count=300)
    for n in np.unique(found.n):
        d = found.flops / 6 / n
        covered = (d >= 0.5 * n) & (d <= 400 * n)
        assert (loss_of(n, d)[covered] >= found.loss[covered] * (1 - 1e-3)).all()
    assert 6 * found.n * found.d == pytest.approx(found.flops, rel=1e-6)


def test_the_ends_are_named_and_left_out():
    found = envelope(curves())
    assert "low end of the envelope is the smallest size, 1e+06" in found.warnings[0]
    assert "high end of the envelope is the largest size, 1e+09" in found.warnings[1]
    assert set(found.frontier.n_opt) < set(found.n)


def test_curves_that_stop_early_and_few_sizes_are_said():
    short = envelope(curves(most=8))
    assert any("end on the envelope" in text for text in short.warnings)
    few = envelope(curves(sizes=5))
    assert any(text.startswith("3 sizes carry") for text in few.warnings)


def test_rows_in_any_order_give_the_same():
    rows = curves(sizes=6)
    plain = envelope(rows).to_json()
    assert envelope(rows.sample(frac=1, random_state=1)).to_json() == plain
    json.dumps(plain, allow_nan=False)
    assert "6 training curves" in envelope(rows).summary()


def test_flops_may_be_a_column():
    rows = curves(sizes=6).assign(spent=lambda t: 6.0 * t["N"] * t["D"])
    named = envelope(rows.drop(columns="D"), flops="spent")
    assert named.frontier.n_opt == pytest.approx(envelope(rows).frontier.n_opt, rel=1e-9)


def test_what_is_no_set_of_curves_is_refused():
    rows = curves(sizes=6)
    with pytest.raises(UserError, match="3 of 3 sizes make the envelope and 1 of them"):
        envelope(curves(sizes=3, largest=1e8))
    with pytest.raises(UserError, match="no training curves"):
        envelope(rows.drop(columns="run"))
    with pytest.raises(UserError, match="no training curves"):
        envelope(rows.drop_duplicates("run"))
    with pytest.raises(UserError, match="run run0, column N: found 1e\\+06 and"):
        envelope(rows.assign(run=["run0", *rows["run"][1:-1], "run0"]))
    with pytest.raises(UserError, match="column 'rn' is missing, did you mean 'run'"):
        envelope(rows, run="rn")
    with pytest.raises(UserError, match="count is 3"):
        envelope(rows, count=3)
    apart = pd.concat([curves(sizes=3), curves(sizes=3, smallest=1e14, largest=1e15)])
    with pytest.raises(UserError, match="no run has a loss at"):
        envelope(apart.assign(run=apart["run"] + apart["N"].astype(str)))
