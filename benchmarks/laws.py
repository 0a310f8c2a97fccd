"""Fits and bootstrap against the usual recipes: both sides in one run, on one thread.

    python benchmarks/laws.py [--quick] [--json FILE]

Data: the 240 points that Besiroglu et al. 2024 read off a figure of Hoffmann et al. 2022, from
`../shared/reference/chinchilla_epoch` beside the repository; where that is absent 240 points
simulated from the published law with 1% noise. The law is L = E + A N^-alpha + B D^-beta, the
objective the sum of Huber's function of the residuals of log loss, delta 1e-3.

The usual recipe is that of Hoffmann et al., section D.3: BFGS with numerical gradients from each
of 4,500 starts. --quick runs 200 of them, evenly spread, and scales the time. The bootstrap is
compared with one BFGS a resample, warm-started. `ratio` is the time of the recipe over the time of
ours: how many times as fast we are. curve_fit (least squares, so on its own objective) and the
package `chinchilla`, where installed, are there for comparison. Four minutes; --quick: half of one.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import contextlib
import dataclasses
import functools
import itertools
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize

from scalelab.laws import registry
from scalelab.laws.estimation.estimate import Estimate, estimate, reweighted
from scalelab.laws.estimation.solver import minimise
from scalelab.laws.uncertainty.bootstrap import bootstrap_estimate

REFERENCE = Path(__file__).parents[2] / "shared" / "reference" / "chinchilla_epoch"
POINTS = REFERENCE / "svg_extracted_data.csv"
PUBLISHED = {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28}
DELTA = 1e-3
# Starts of (a, b, e, alpha, beta) with a = ln A, b = ln B, e = ln E.
GRID = {
    "a": [0.0, 5.0, 10.0, 15.0, 20.0, 25.0],
    "b": [0.0, 5.0, 10.0, 15.0, 20.0, 25.0],
    "e": [-1.0, -0.5, 0.0, 0.5, 1.0],
    "alpha": [0.0, 0.5, 1.0, 1.5, 2.0],
    "beta": [0.0, 0.5, 1.0, 1.5, 2.0],
}
SAME = 1e-6
QUICK, REPLICATES, RESAMPLES, RANDOM_STARTS, REPEATS = 200, 100, 4000, 2000, 7


def main() -> None:
    """Print the comparison, and write it as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} of the 4,500 starts")
    parser.add_argument("--json", help="write the numbers to this file too")
    args = parser.parse_args()
    x, log_loss, source = points()
    form = registry.get("chinchilla")
    fit = functools.partial(estimate, form, x, log_loss, "huber", DELTA)
    best: Estimate = fit()
    seconds = {
        "fit": median_seconds(fit),
        "bootstrap_4000": median_seconds(lambda: bootstrap_estimate(best, RESAMPLES), 3),
    }
    objective = functools.partial(recipe, np.log(x[:, 0]), np.log(x[:, 1]), log_loss)
    result: dict[str, Any] = {"data": source, "objective": {"fit": best.value}}
    result["grid"] = grid(objective, best.value, QUICK if args.quick else None)
    seconds["grid"] = result["grid"].pop("seconds")
    result["objective"]["grid"] = lowest = result["grid"].pop("objective")
    result["objective"]["fit_relative_to_grid"] = best.value / lowest - 1
    result["bootstrap"] = replicates(best, objective)
    seconds["bfgs_replicate"] = result["bootstrap"].pop("seconds")
    result["random_starts"] = random_starts(best)
    result["curve_fit"] = curve_fit(x, log_loss)
    result["package_chinchilla"] = package(x, log_loss, objective, best.value)
    result["seconds"] = seconds
    result["ratio"] = {
        "fit_over_grid": seconds["grid"] / seconds["fit"],
        "replicate_over_bfgs": seconds["bfgs_replicate"] * RESAMPLES / seconds["bootstrap_4000"],
    }
    print("\n".join(lines(result)))
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def points() -> tuple[np.ndarray, np.ndarray, str]:
    """x (n, 2) of N and D = C / 6N, log loss (n,), and what they are."""
    if POINTS.exists():
        raw = pd.read_csv(POINTS)
        raw = raw[raw["loss"] < raw["loss"].nlargest(5).iloc[-1]]
        n = raw["Model Size"].to_numpy(float)
        x = np.column_stack([n, raw["Training FLOP"].to_numpy(float) / 6 / n])
        return x, np.log(raw["loss"].to_numpy(float)), f"{len(x)} points of Besiroglu et al. 2024"
    generator, form = np.random.default_rng(0), registry.get("chinchilla")
    x = np.exp(generator.uniform(np.log([5e7, 1e9]), np.log([1e10, 1e12]), (240, 2)))
    clean = np.log(form.value(form.theta(PUBLISHED)[None], np.log(x))[0])
    return x, clean + generator.normal(0, 0.01, 240), "SIMULATED: 240 points with 1% noise"


def recipe(
    log_n: np.ndarray,
    log_d: np.ndarray,
    log_loss: np.ndarray,
    theta: np.ndarray,
    weights: np.ndarray | float = 1.0,
) -> float:
    """Hoffmann et al. 2022, equation 3: sum of Huber of log loss minus logsumexp, at (5,)."""
    a, b, e, alpha, beta = theta
    # Pairwise, since scipy.special.logsumexp takes five times as long on so few points.
    predicted = np.logaddexp(np.logaddexp(a - alpha * log_n, b - beta * log_d), e)
    size = np.abs(log_loss - predicted)
    huber = np.where(size <= DELTA, size**2 / 2, DELTA * (size - DELTA / 2))
    return float((weights * huber).sum())


def median_seconds(call: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median wall time of a call."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def bfgs(function: Callable[..., float], start: np.ndarray, *more: Any) -> Any:
    """SciPy's BFGS with numerical gradients, as it comes."""
    with np.errstate(all="ignore"):
        return optimize.minimize(function, start, args=more, method="BFGS")


def grid(objective: Callable[..., float], optimum: float, subset: int | None) -> dict[str, Any]:
    """BFGS from every start: objective, time, share at the optimum, share that report success."""
    starts = np.array(list(itertools.product(*GRID.values())))
    count = len(starts)
    if subset:
        starts = starts[np.random.default_rng(0).permutation(count)[:subset]]
    began = time.perf_counter()
    found = [bfgs(objective, start) for start in starts]
    seconds = (time.perf_counter() - began) * count / len(starts)
    values = np.array([one.fun for one in found])
    lowest = float(np.nanmin(values))
    return {
        "objective": lowest,
        "seconds": seconds,
        "starts": count,
        "starts_run": len(starts),
        "share_at_optimum": float((values <= min(lowest, optimum) * (1 + SAME)).mean()),
        "share_success": float(np.mean([one.success for one in found])),
    }


def replicates(best: Estimate, objective: Callable[..., float]) -> dict[str, Any]:
    """One warm-started BFGS a resample: seconds each, and how far above ours each one ends."""
    count = len(best.problem.y)
    draws = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), REPLICATES)
    p = best.params
    warm = np.array([np.log(p["A"]), np.log(p["B"]), np.log(p["E"]), p["alpha"], p["beta"]])
    began = time.perf_counter()
    found = [bfgs(objective, warm, weights) for weights in draws.astype(float)]
    seconds = (time.perf_counter() - began) / REPLICATES
    ours = reweighted(best, draws.astype(float)).value
    excess = np.array([one.fun for one in found]) / ours - 1
    return {
        "seconds": seconds,
        "replicates_run": REPLICATES,
        "excess_median": float(np.median(excess)),
        "excess_largest": float(excess.max()),
        "excess_smallest": float(excess.min()),
        "share_success": float(np.mean([one.success for one in found])),
    }


def random_starts(best: Estimate) -> dict[str, Any]:
    """Whether a dense random multistart finds anything lower than the fit."""
    generator = np.random.default_rng(0)
    start = np.empty((RANDOM_STARTS, 5))
    start[:, 0] = generator.uniform(0, 1, RANDOM_STARTS)
    start[:, 1::2] = generator.uniform(-6, 2, (RANDOM_STARTS, 2))
    start[:, 2::2] = np.exp(generator.uniform(np.log(0.01), np.log(3), (RANDOM_STARTS, 2)))
    bounds = best.form.bounds(best.problem.u)
    near = minimise(dataclasses.replace(best.problem, rough=True), start, *bounds, done=SAME)
    value = minimise(best.problem, near.theta, *bounds).value
    return {
        "starts": RANDOM_STARTS,
        "lowest_relative_to_fit": float(value.min() / best.value - 1),
        "share_at_fit": float((np.abs(value / best.value - 1) < SAME).mean()),
    }


def curve_fit(x: np.ndarray, log_loss: np.ndarray) -> dict[str, Any]:
    """scipy.optimize.curve_fit of log loss from one start; how far above our least squares."""

    def log_law(x: np.ndarray, *params: float) -> np.ndarray:
        e, a, alpha, b, beta = params
        return np.log(e + a * x[:, 0] ** -alpha + b * x[:, 1] ** -beta)

    ours = estimate(registry.get("chinchilla"), x, log_loss).value
    result: dict[str, Any] = {}
    for name, start in (("ones", [1.0] * 5), ("published", list(PUBLISHED.values()))):
        began = time.perf_counter()
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore", optimize.OptimizeWarning)
                params, _ = optimize.curve_fit(log_law, x, log_loss, start)
                squares = float(((log_loss - log_law(x, *params)) ** 2).sum() / 2)
            excess = squares / ours - 1
            text = f"{excess:.1e} above our least squares" if np.isfinite(excess) else "not finite"
        except (RuntimeError, ValueError) as error:
            text = f"failed: {str(error).splitlines()[0]}"
        result[name] = {"result": text, "seconds": time.perf_counter() - began}
    return result


def package(
    x: np.ndarray, log_loss: np.ndarray, objective: Callable[..., float], ours: float
) -> dict[str, Any] | None:
    """The package `chinchilla` (its BFGS in extended precision) from 1 and from 32 starts.

    The difference gives the time of one start without its set-up and its figure.
    """
    try:
        from chinchilla import Chinchilla
        from chinchilla._metrics import log_huber
    except ImportError:
        return None
    loss = functools.partial(log_huber, delta=DELTA)
    seconds, lowest = [], np.inf
    for width in (1, 2):
        some = {k: tuple(GRID[k][1 : 1 + width]) for k in ("e", "a", "b", "alpha", "beta")}
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(None):
            fitter = Chinchilla(folder, some, loss_fn=loss, log_level=50)
            for (n, d), y in zip(x, np.exp(log_loss), strict=True):
                fitter.append(N=n, D=d, loss=y)
            began = time.perf_counter()
            fitter.fit(parallel=False)
            seconds.append(time.perf_counter() - began)
        p = fitter.params
        theta = [np.log(p["A"]), np.log(p["B"]), np.log(p["E"]), p["alpha"], p["beta"]]
        lowest = min(lowest, objective(np.array(theta)))
    return {
        "seconds_of_4500_starts": (seconds[1] - seconds[0]) / 31 * 4500,
        "objective_relative_to_fit": lowest / ours - 1,
    }


def lines(result: dict[str, Any]) -> list[str]:
    """The comparison as text."""
    value, seconds, ratio = result["objective"], result["seconds"], result["ratio"]
    grid, drawn, tried = result["grid"], result["bootstrap"], result["random_starts"]
    scaled = f", scaled from {grid['starts_run']}" if grid["starts_run"] < grid["starts"] else ""
    other = result["package_chinchilla"]
    return [
        f"data: {result['data']}; sum of Huber on log loss, delta {DELTA:g}; one thread",
        f"fit: objective {value['fit']:.16g} in {seconds['fit']:.3f} s",
        f"BFGS from {grid['starts']} starts: objective {value['grid']:.16g} in "
        f"{seconds['grid']:.0f} s{scaled}",
        f"  ours relative to it {value['fit_relative_to_grid']:+.1e}; "
        f"{grid['share_at_optimum']:.0%} of its starts end within {SAME:g} of the optimum, "
        f"{grid['share_success']:.0%} report success",
        f"  fit_over_grid: {ratio['fit_over_grid']:.0f} times as fast",
        f"bootstrap: {RESAMPLES} resamples in {seconds['bootstrap_4000']:.2f} s",
        f"one warm-started BFGS a resample: {seconds['bfgs_replicate'] * 1e3:.1f} ms each "
        f"({drawn['replicates_run']} run, {drawn['share_success']:.0%} report success), ends "
        f"{drawn['excess_median']:.1e} (median) to {drawn['excess_largest']:.1e} above ours",
        f"  replicate_over_bfgs: {ratio['replicate_over_bfgs']:.0f} times as fast",
        f"{tried['starts']} random starts: the lowest is {tried['lowest_relative_to_fit']:+.1e} "
        f"relative to the fit, {tried['share_at_fit']:.0%} end there",
        *(
            f"curve_fit from {name}: {one['result']}, {one['seconds'] * 1e3:.0f} ms"
            for name, one in result["curve_fit"].items()
        ),
        "package chinchilla: not installed"
        if other is None
        else f"package chinchilla: {other['seconds_of_4500_starts']:.0f} s for 4,500 starts "
        f"(scaled from 31), best of 32 {other['objective_relative_to_fit']:+.1e} relative to ours",
    ]


if __name__ == "__main__":
    main()
