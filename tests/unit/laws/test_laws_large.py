"""Fits to thousands of points: the same answers as for few, in memory that does not grow as n^2."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest

from scalelab.laws import registry
from scalelab.laws.answers.curves import _binned
from scalelab.laws.estimation import influence
from scalelab.laws.estimation.estimate import Estimate, estimate
from scalelab.laws.judgement.checklist import leave_one_out
from scalelab.laws.runs.points import prepare
from scalelab.laws.uncertainty import bootstrap

MEGABYTE = 1e6


def fitted(sizes: int, tokens: int, floor: float = 1.4, **more) -> Estimate:
    """A law of N and D fitted to a grid with noise of 1%."""
    random = np.random.default_rng(4)
    n, d = np.meshgrid(np.geomspace(1e5, 1e8, sizes), np.geomspace(1e7, 1e10, tokens))
    x = np.column_stack([n.ravel(), d.ravel()])
    loss = floor + 40 * x[:, 0] ** -0.3 + 300 * x[:, 1] ** -0.3
    noise = 0.01 * random.standard_normal(len(x))
    return estimate(registry.get("chinchilla"), x, np.log(loss) + noise, **more)


def peak_bytes(call) -> tuple[int, object]:
    """The most memory that a call held at once, and what it gave."""
    tracemalloc.start()
    try:
        found = call()
        return tracemalloc.get_traced_memory()[1], found
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("more", [{}, {"objective": "huber", "delta": 0.02}])
def test_one_step_without_a_point_is_the_fit_anew(more):
    best = fitted(20, 15, **more)
    anew, objective = influence.without_each(best)
    theta, value = influence.one_step(best)
    moved = np.abs(anew - best.theta).max(0)
    # One step errs by the square of the shift: by a share of the shift that is small itself.
    assert (np.abs(theta - anew).max(0) < 0.05 * moved).all()
    gain = best.value - objective
    assert (np.abs(value - objective) < 0.05 * gain.max()).all() and gain.min() >= 0


def test_a_floor_at_its_bound_stays_there():
    best = fitted(20, 15, floor=-0.05)
    assert best.params["E"] == 0
    theta, _ = influence.one_step(best)
    assert (theta[:, 0] == 0).all() and (theta[:, 1:] != best.theta[1:]).all()


def test_leaving_out_each_of_thousands_takes_little_memory():
    best = fitted(60, 50)
    peak, table = peak_bytes(lambda: leave_one_out(best))
    assert len(table) == 3000 and set(table[0]["shifts"]) == {"alpha", "beta"}
    assert peak < 20 * MEGABYTE, "two arrays of 3000 x 3000 are 144"


def test_portions_of_resamples_are_those_drawn_at_once(monkeypatch):
    best = fitted(8, 5)
    whole = bootstrap.bootstrap_estimate(best, 60, seed=3)
    monkeypatch.setattr(bootstrap, "PORTION", 7 * 40)
    parts = bootstrap.bootstrap_estimate(best, 60, seed=3)
    assert bootstrap._portions(60, 40) == [7] * 8 + [4]
    assert (parts.n_ok, parts.n_failed) == (whole.n_ok, whole.n_failed) == (60, 0)
    np.testing.assert_allclose(parts.theta, whole.theta, rtol=1e-9)


@pytest.mark.parametrize("draw", [bootstrap.bootstrap_estimate, bootstrap.simulate_estimate])
def test_resamples_of_thousands_of_points_take_little_memory(monkeypatch, draw):
    best = fitted(50, 40)
    monkeypatch.setattr(bootstrap, "PORTION", 100_000)
    monkeypatch.setattr(bootstrap, "BATCH", 100_000)
    peak, drawn = peak_bytes(lambda: draw(best, 300))
    assert drawn.n_ok == 300
    assert peak < 12 * MEGABYTE, "all at once they are 300 x 2000 numbers in several arrays"
    error = drawn.theta.std(0)
    assert (np.abs(drawn.theta.mean(0) - best.theta) < 0.5 * error).all()


def test_ten_thousand_rows_become_points_in_order():
    random = np.random.default_rng(0)
    n, d = np.meshgrid(np.geomspace(1e5, 1e8, 100), np.geomspace(1e7, 1e10, 100))
    rows = pd.DataFrame({"N": n.ravel(), "D": d.ravel(), "id": np.arange(10_000).astype(str)})
    rows["loss_nats"] = 1.4 + 40 * rows["N"] ** -0.3 + 300 * rows["D"] ** -0.3
    rows["status"] = ["diverged" if place % 100 == 7 else "ok" for place in range(10_000)]
    shuffled = rows.iloc[random.permutation(len(rows))]
    points = prepare(shuffled, ("N", "D"), "loss_nats")
    assert len(points.x) == 9900 and len(points.excluded) == 100
    assert {item["reason"] for item in points.excluded} == {"diverged"}
    known = rows.set_index("id")
    for place in (0, 1234, 9899):
        row = known.loc[points.runs[place][0]]
        assert tuple(points.x[place]) == (row["N"], row["D"])
        assert points.log_loss[place] == np.log(row["loss_nats"])


def test_bins_of_a_curve_are_means_of_logs():
    random = np.random.default_rng(1)
    lines = [(float(t), 7e3 * t, float(random.uniform(2, 5))) for t in np.geomspace(1e3, 1e5, 90)]
    parts: dict[int, list] = {}
    for line in lines:
        parts.setdefault(int(np.floor(15 * np.log10(line[1]))), []).append(np.log(line))
    expected = [np.exp(np.mean(rows, axis=0)) for _, rows in sorted(parts.items())]
    np.testing.assert_allclose(_binned(lines), expected, rtol=1e-14)
