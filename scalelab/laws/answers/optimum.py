"""The best value of a setting at each size, and the rule by which it moves with size.

At each size a parabola of ln loss in ln setting through the points about the best one; its least
point with Fieller's interval. Across sizes a power of N (or of D), the form in which the literature
gives them: McCandlish et al. 2018 (arXiv:1812.06162) and Kaplan et al. 2020 (arXiv:2001.08361) for
the batch, Porian et al. 2024 (arXiv:2406.19146) for both the learning rate and the batch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scalelab.errors import UserError
from scalelab.laws.allocation.exponents import PowerLaw, power_law
from scalelab.laws.allocation.vertex import Parabola, parabola, within
from scalelab.laws.answers.registry import Block, Material, answer
from scalelab.laws.answers.trials import Size, basin, part_of, sizes_of, step_beyond
from scalelab.laws.registry import Array
from scalelab.laws.result import finite
from scalelab.laws.spent import spent

NEIGHBOURS = 2
"""Points on either side of the best that take part where their loss is near enough."""
NEAR = 0.05
"""Excess over the least loss up to which a second neighbour takes part: further out a basin is no
parabola (a learning rate that is too high costs more than one that is too low)."""
SHARE = 0.01
FEWEST = 3
CURVE = 33
VARIED = 0.03


@answer(required=("axis",), settings=("y", "level", "share", "tolerance", "where"))
def optimum(material: Material, settings: Mapping[str, Any]) -> Block:
    """The optimum of one axis at each size, and the power rule through those of three or more.

    settings: axis, a column of runs.csv; y, the loss column (loss_nats); level of the intervals;
    share, of the least loss, that bounds the basin (0.01); tolerance, within which sizes are one
    (0.1 for shapes, else 0.02); where, {column: value}, the runs that it is of, such as those on
    one text. Runs of one size that differ in other settings too are taken at the best of those,
    value by value.

    Raises:
        UserError: bad settings or rows, or no size with three values of the axis.
    """
    axis, y = str(settings["axis"]), str(settings.get("y", "loss_nats"))
    level, share = float(settings.get("level", 0.95)), float(settings.get("share", SHARE))
    for name, value in (("level", level), ("share", share)):
        if not 0 < value < 1:
            raise UserError(f"{name} is {value}: expected a number between 0 and 1")
    runs = part_of(material.runs, settings.get("where"))
    sizes = sizes_of(runs, axis, y, settings.get("tolerance"))
    swept = [size for size in sizes if len(size.x) >= FEWEST]
    if not swept:
        most = max(len(size.x) for size in sizes)
        raise UserError(
            f"an optimum of {axis} needs {FEWEST} or more of its values at one size, found "
            f"{most} at most"
        )
    fits = [_about_the_best(size) for size in swept]
    variance, dof, method = _noise(swept, fits)
    blocks = [
        _block(size, fit, variance, dof, level, share)
        for size, fit in zip(swept, fits, strict=True)
    ]
    warnings = [text for block in blocks for text in _sentences(block, axis)]
    warnings += _left_out(sizes, axis)
    rule, law, path, told = _rule(blocks, axis, level)
    return {
        "axis": axis,
        "y": y,
        "level": level,
        "share": share,
        "interval_method": method,
        "sizes": blocks,
        "rule": rule,
        "law": law,
        "path": path,
        "cost": spent(runs.to_dict("records")),
        "warnings": warnings + told,
    }


def _about_the_best(size: Size) -> Parabola | None:
    best = int(np.argmin(size.log_y))
    if best in (0, len(size.x) - 1):
        return None
    used = _used(size, best)
    return parabola(np.log(size.x[used]), size.log_y[used], size.seeds[used])


def _used(size: Size, best: int) -> Array:
    """Which points (k,) the parabola goes through: neighbours, second ones where near enough."""
    distance = np.abs(np.arange(len(size.x)) - best)
    near = size.log_y - size.log_y[best] <= np.log1p(NEAR)
    # A second neighbour behind a first one that is far off is no part of the basin either.
    beyond = np.array(
        [near[min(i, best) : max(i, best) + 1].all() for i in range(len(size.x))], bool
    )
    return (distance <= 1) | ((distance <= NEIGHBOURS) & beyond)


def _noise(sizes: Sequence[Size], fits: Sequence[Parabola | None]) -> tuple[float | None, int, str]:
    """Variance of ln loss of one run, its degrees of freedom, and where it comes from.

    What seeds differ by and what the parabolas leave, each over all sizes, are pooled unless the
    latter is larger than noise allows, at 5%; then a basin is no parabola and the residuals are
    taken alone (Draper and Smith 1998, section 2.1, the test of lack of fit).
    """
    from scipy.special import fdtri

    known = [fit for fit in fits if fit is not None]
    seeds, dof_seeds = (sum(size.scatter[place] for size in sizes) for place in (0, 1))
    left, dof_left = sum(fit.square for fit in known), sum(fit.spare for fit in known)
    if dof_left + dof_seeds == 0:
        return None, 0, "no interval: one run a value and three values a parabola"
    total, dof, source = seeds + left, int(dof_seeds + dof_left), "seeds and residuals"
    if not dof_seeds:
        source = "residuals"
    elif not dof_left:
        source = "seeds"
    elif left / dof_left > fdtri(dof_left, dof_seeds, 0.95) * seeds / dof_seeds:
        total, dof, source = left, int(dof_left), "residuals, larger than seeds explain"
    return total / dof, dof, f"Fieller's, noise from {source}, {dof} degrees of freedom"


def _block(
    size: Size, fit: Parabola | None, variance: float | None, dof: int, level: float, share: float
) -> Block:
    best = int(np.argmin(size.log_y))
    inner = fit is not None and fit.inside
    found: Block = {"optimum": None, "interval": [None, None], "loss": None, "curve": []}
    least = float(size.log_y[best])
    if fit is not None and inner:
        ends = (None, None) if variance is None else fit.interval(variance, dof, level)
        ends = within(ends, np.log(size.x[0]), np.log(size.x[-1]))
        grid = np.linspace(*fit.reach, CURVE)
        least = min(least, fit.value)
        found = {
            "optimum": float(np.exp(fit.place)),
            "interval": [None if end is None else finite(float(np.exp(end))) for end in ends],
            "loss": float(np.exp(fit.value)),
            "curve": [
                [float(np.exp(u)), float(v)] for u, v in zip(grid, fit.at(grid), strict=True)
            ],
        }
    points = zip(size.x, size.log_y, size.seeds, size.at, strict=True)
    return {
        "N": size.n,
        "D": size.d,
        "spread_N": size.spread,
        **found,
        "best": float(size.x[best]),
        "best_loss": float(np.exp(size.log_y[best])),
        "least_loss": float(np.exp(least)),
        "open": None if inner else "low" if best == 0 else "high",
        "add": None if inner else _to_add(size, best),
        "basin": basin(size.x, size.log_y, least, share),
        "points": [
            {"x": float(x), "loss": float(np.exp(v)), "seeds": int(n), "at": _plain(at)}
            for x, v, n, at in points
        ],
        "failed_at": list(size.failed),
        "others_at_an_end": list(size.open_at),
    }


def _plain(at: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as strict JSON has them."""
    return {name: value.item() if hasattr(value, "item") else value for name, value in at.items()}


def _to_add(size: Size, best: int) -> float:
    """The value that would close the sweep: between the best and the next that failed, else one
    step further out."""
    high = best > 0
    x = size.x[best]
    failed = [value for value in size.failed if (value > x) == high]
    if failed:
        next_one = min(failed) if high else max(failed)
        return float(np.sqrt(x * next_one))
    return step_beyond(size.x, high)


def _sentences(block: Block, axis: str) -> list[str]:
    """What to know of one size's optimum."""
    where, told = f"N = {block['N']:.4g}", []
    if block["open"] == "low" and axis == "depth" and block["best"] <= 1:
        told.append(f"{where}: the least loss is at one block, the least depth there is")
    elif block["open"]:
        end = "largest" if block["open"] == "high" else "smallest"
        edge = [v for v in block["failed_at"] if (v > block["best"]) == (block["open"] == "high")]
        reason = f", the next one ({_next(edge, block):.4g}) failed" if edge else ""
        told.append(
            f"{where}: the least loss is at the {end} {axis} that ended well, "
            f"{block['best']:.4g}{reason}: the optimum is open, add {block['add']:.3g}"
        )
    elif None in block["interval"]:
        told.append(
            f"{where}: the interval of the optimum is open, its basin is flat or unresolved"
        )
    for name in block["others_at_an_end"]:
        told.append(f"{where}: the best {name} is at an end of its sweep, widen that too")
    if block["spread_N"] > VARIED:
        told.append(
            f"{where}: the runs differ by {block['spread_N']:.1%} in N, so part of their "
            "difference in loss is one of size"
        )
    return told


def _next(edge: Sequence[float], block: Block) -> float:
    return min(edge) if block["open"] == "high" else max(edge)


def _left_out(sizes: Sequence[Size], axis: str) -> list[str]:
    few = [size for size in sizes if len(size.x) < FEWEST]
    if not few:
        return []
    named = ", ".join(f"{size.n:.4g}" for size in few[:6]) + " and more" * (len(few) > 6)
    return [f"fewer than {FEWEST} values of {axis} at N = {named}: left out"]


def _rule(
    blocks: Sequence[Block], axis: str, level: float
) -> tuple[Block | None, Block | None, list[Block], list[str]]:
    """The power rule as a study file writes it, the regression behind it, its path, warnings."""
    inner = [block for block in blocks if block["optimum"] is not None]
    counts = {of: len({block[of] for block in inner}) for of in ("N", "D")}
    of = "N" if counts["N"] >= FEWEST or counts["D"] < FEWEST else "D"
    if counts[of] < FEWEST:
        return (
            None,
            None,
            [],
            [
                f"no rule: {counts['N']} sizes have an optimum inside the values tried, "
                f"{FEWEST} are needed"
            ],
        )
    x = np.array([block[of] for block in inner])
    law = power_law(x, [block["optimum"] for block in inner], level=level, names=(of, axis))
    at = float(f"{np.exp(np.log(x).mean()):.2g}")
    middle, low, high = _value(law, at)
    told = []
    if len({round(float(np.log(b["N"])), 6) for b in inner}) < len(inner) and of == "N":
        told.append("D differs at one N: the rule is one of N over all of them")
    ends = law.interval
    if ends[0] is not None and ends[1] is not None and ends[0] <= 0 <= ends[1]:
        told.append(
            f"the exponent of {axis} is not told from 0 ({ends[0]:.2f} to {ends[1]:.2f}): one "
            "value for all sizes does as well"
        )
    steps = [float(v) for v in np.geomspace(x.min(), x.max(), CURVE // 2)]
    steps += [float(v) for v in x.max() * np.geomspace(1, 10, 9)[1:]]
    path = [{of: step, "value": list(_value(law, step))} for step in steps]
    rule = {"value": middle, "at": at, "exponent": law.exponent, "of": of}
    details = {**law.to_json(), "value_interval": [low, high]}
    return rule, details, path, told


def _value(law: PowerLaw, x: float) -> tuple[float, float | None, float | None]:
    low, high = law.interval_at(x)[0]
    return float(law.predict(x)[0]), finite(low), finite(high)
