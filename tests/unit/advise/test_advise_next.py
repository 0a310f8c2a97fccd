"""The next run: against exhaustive search, against habit, on bad input, and through the verb."""

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scalelab.advise import choose, choose_on_grid, prior
from scalelab.advise.candidates import given, grid
from scalelab.advise.check import after, check
from scalelab.advise.criterion import criterion
from scalelab.advise.information import spread
from scalelab.advise.next import best_set, choose_from, next_larger
from scalelab.advise.state import State, state
from scalelab.cli import main
from scalelab.errors import UserError
from scalelab.laws.registry import Array
from scalelab.laws.uncertainty.springs import gradients

TRUTH = prior("besiroglu2024")
SIZES = np.geomspace(1e6, 3e7, 8)
SCATTERED = np.column_stack([SIZES, SIZES * np.resize([5.0, 20.0, 80.0], 8)])
GRID = np.array([[n, n * r] for n in SIZES[[0, 2, 5, 7]] for r in (10.0, 40.0)])
LADDER = np.column_stack([SIZES, 20 * SIZES])
BUDGET = 4 * 6 * 3e7 * 20 * 3e7


def table(x: Array, seed: int = 0, noise: float = 0.003) -> pd.DataFrame:
    """Runs on the law with noise."""
    errors = np.random.default_rng(seed).normal(0, noise, len(x))
    frame = pd.DataFrame(x, columns=["N", "D"])
    frame["loss_nats"] = np.exp(TRUTH.log_loss(x) + errors)
    return frame


def rows(x: Array) -> list[dict[str, float]]:
    """Candidates for `choose`."""
    return [{"N": n, "D": d, "C": 6 * n * d} for n, d in x.tolist()]


def few(now: State) -> Array:
    """A small grid of new runs and one seed of an old one."""
    sizes = np.geomspace(2e6, 2e8, 5)
    x = np.array([[n, d] for n in sizes for d in np.geomspace(3e7, 3e9, 4)])
    return np.concatenate([x, now.points.x[:1]])


@pytest.mark.parametrize("x", [SCATTERED, GRID], ids=["profile", "robust"])
def test_rank_one_scores_are_those_of_the_whole_design(x: Array) -> None:
    """The update formula against an information matrix made anew, at the estimate alone."""
    import dataclasses

    now = state(table(x), "chinchilla", "alpha")
    now = dataclasses.replace(now, draws=now.draws[:1], precision=np.zeros(5))
    more = few(now)[:-1]
    judge = criterion(now, more)
    scores = judge.scores()
    for place in np.flatnonzero(np.isfinite(scores))[:6]:
        assert scores[place] == pytest.approx(judge.score([place]), abs=1e-9)
        u = np.concatenate([now.best.problem.u, now.best.centred(more[place : place + 1])])
        y = np.log(now.best.form.value(now.best.theta[None], u)[0])
        problem = dataclasses.replace(now.best.problem, u=u, y=y, weights=np.ones(len(u)))
        best = dataclasses.replace(now.best, problem=problem)
        member = None if now.sure.method == "profile" else judge.members([place])
        slopes = gradients(best, [now.asked.target(best)])
        wide = spread(best, slopes, np.full(len(u), now.noise**2), member)
        assert np.exp(scores[place]) == pytest.approx(wide.half_width(0.95)[0], rel=1e-6)


def test_the_set_is_the_best_of_all_pairs() -> None:
    now = state(table(SCATTERED), "chinchilla", "alpha")
    x = few(now)
    judge, costs = criterion(now, x), 6 * x.prod(1)
    chosen = best_set(judge, costs, BUDGET, 2)
    pairs = [p for p in itertools.combinations(range(len(x)), 2) if costs[list(p)].sum() <= BUDGET]
    best = min(judge.score(pair) for pair in pairs)
    assert judge.score(chosen) <= best + 0.02 and costs[list(chosen)].sum() <= BUDGET


@pytest.mark.slow
@pytest.mark.parametrize("quantity", ["alpha", "E", "a", "N_opt@C=1e20", "loss@N=1e9,D=2e10"])
def test_the_choice_beats_habit_and_chance_on_the_true_law(quantity: str) -> None:
    """Refits to losses from the law itself; the choice knows only the noisy runs so far."""
    gains: dict[str, list[float]] = {"larger": [], "random": []}
    for seed in range(5):
        now = state(table(SCATTERED, seed), "chinchilla", quantity, seed=seed)
        pool = grid(now.points, BUDGET)
        one = choose_from(now, pool, BUDGET, seed=seed)
        assert one.flops <= BUDGET * 1.0001
        judge = criterion(now, pool.x)
        error = np.random.default_rng(100 + seed).normal(0, 0.003)
        halves = []
        for chosen in (one.chosen, next_larger(pool, BUDGET), one.random_sets[0]):
            sure = after(now, judge, chosen, TRUTH.log_loss(pool.x[list(chosen)]) + error)
            own = sure.ends([now.asked.target(sure.best)], 0.95)[0]
            halves.append(float(now.asked.half_width(now.asked.natural(sure.best, own))))
        gains["larger"].append(np.log(halves[0] / halves[1]))
        gains["random"].append(np.log(halves[0] / halves[2]))
    assert np.mean(gains["larger"]) < np.log(0.95)
    assert np.mean(gains["random"]) < np.log(0.85)


def test_a_ladder_of_constant_ratio_is_told_to_leave_its_ray() -> None:
    one = choose_on_grid(table(LADDER), "chinchilla", "a", BUDGET, runs=3)
    assert np.isinf(one.state.half_width)
    assert any("one variable" in text for text in one.state.notes)
    assert any("wide prior" in text for text in one.state.notes)
    ratio = one.candidates.ratio[list(one.chosen)]
    assert ratio.min() < 20 / 2 and ratio.max() > 20 * 2  # off the ray, on both sides of it
    chosen, larger = (
        check(one.state, one.candidates.x, [places] * 8) for places in (one.chosen, one.larger)
    )
    assert chosen.half_width < 0.15 < larger.half_width


def test_seeds_of_an_old_run_are_worth_less_than_a_new_size() -> None:
    now = table(SCATTERED)
    pool = rows(np.concatenate([SCATTERED[-1:], [[1e8, 6e8]]]))
    one = choose(now, "chinchilla", "alpha", 1e19, pool)
    assert one.chosen == (1,)
    alone = choose(now, "chinchilla", "alpha", 1e19, pool[:1])
    assert alone.half_width <= alone.now and one.half_width < alone.half_width


def test_a_law_of_one_column_is_chosen_along_it() -> None:
    n = np.geomspace(1e5, 1e7, 7)
    frame = pd.DataFrame({"N": n, "D": 20 * n, "C": 120 * n**2})
    errors = np.random.default_rng(2).normal(0, 0.002, 7)
    frame["loss_nats"] = (1.8 + 60 * n**-0.25) * np.exp(errors)
    one = choose_on_grid(frame, "power_offset", "E", 1e17)
    row = one.candidates.row(one.chosen[0])
    assert row["D"] == pytest.approx(20 * row["N"], rel=1e-6)
    assert row["C"] == pytest.approx(120 * row["N"] ** 2, rel=1e-6)
    assert row["N"] > 1e7 and one.half_width < one.now


def test_the_flops_of_a_candidate_are_those_of_the_table() -> None:
    frame = table(SCATTERED)
    frame["C"] = 9 * frame.N * frame.D
    now = state(frame, "chinchilla", "alpha")
    pool = grid(now.points, BUDGET, sizes=[2e6, 5e7])
    assert set(pool.x[:, 0]) == {2e6, 5e7}
    assert pool.flops == pytest.approx(9 * pool.x.prod(1))
    assert given([{"N": 1e6, "D": 1e7}], now.points).flops[0] == pytest.approx(6e13)


def test_limits_of_size_and_tokens_hold() -> None:
    now = state(table(SCATTERED), "chinchilla", "alpha")
    pool = grid(now.points, BUDGET, max_n=4e7, max_d=1e9)
    assert pool.x[:, 0].max() <= 4e7 * 1.00001 and pool.x[:, 1].max() <= 1e9 * 1.00001


def test_few_degrees_of_freedom_pool_the_noise_and_say_so() -> None:
    now = state(table(SCATTERED[:7]), "chinchilla", "alpha")
    assert any("hardly show the noise" in text for text in now.notes)
    assert 0.001 < now.noise < 0.01
    assert state(table(SCATTERED), "chinchilla", "alpha", noise=0.02).noise == 0.02


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"candidates": []}, "no candidates"),
        ({"candidates": [{"N": 1e6}]}, "candidate 1: column D is missing"),
        ({"candidates": [{"N": -1e6, "D": 1e7}]}, "candidate 1: expected positive numbers"),
        ({"flops": 1.0}, "no candidate costs 1 FLOPs or less"),
        ({"flops": -1.0}, "the budget is -1"),
        ({"runs": 0}, "runs is 0"),
        ({"noise": 0.0}, "noise is 0"),
        ({"quantity": "gamma"}, "none of the law chinchilla"),
    ],
)
def test_bad_input_is_one_sentence(keywords: dict, words: str) -> None:
    ask = {"law": "chinchilla", "quantity": "alpha", "flops": 1e19, "candidates": rows(GRID)}
    with pytest.raises(UserError, match=words):
        choose(table(SCATTERED), **(ask | keywords))


@pytest.mark.slow
def test_the_verb_says_writes_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "x").mkdir()
    table(SCATTERED).to_csv(tmp_path / "x" / "runs.csv", index=False)
    words = ["next", "--study", str(tmp_path / "x"), "--flops", "2e16", "--studies", "4"]
    out, drawn = tmp_path / "next.json", tmp_path / "next.pdf"
    assert main([*words, "--json", str(out), "--figure", str(drawn)]) == 0
    text = capsys.readouterr().out
    assert "alpha = " in text and "train N = " in text and "next larger size" in text
    found = json.loads(out.read_text())
    assert found["provenance"]["data_hash"] and found["flops"] <= 2e16 * 1.001
    assert found["expected"]["half_width"] < found["half_width"]
    halves = [row["half_width"] for row in found["curve"]]
    assert halves == sorted(halves, reverse=True)
    assert drawn.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--flops", "1e17"], "either a table of runs"),
        (["--study", "nowhere", "--flops", "1e17"], "holds no runs.csv"),
        (["runs.csv", "--flops", "many"], "--flops: found 'many'"),
        (["runs.csv", "--flops", "1e17", "--figure", "a.gif"], "expected a name in .pdf"),
        (["runs.csv", "--flops", "1"], "no run within 1 FLOPs"),
        (["runs.csv", "--flops", "1e17", "--quantity", "gamma"], "none of the law"),
    ],
)
def test_the_verb_refuses_in_one_sentence(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table(SCATTERED).to_csv("runs.csv", index=False)
    assert main(["next", *words, "--json", "out.json"]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert not Path("out.json").exists()
