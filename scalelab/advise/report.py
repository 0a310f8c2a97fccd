"""A choice in words and as JSON: now, with the chosen runs, and with what is done by habit."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from scalelab.advise.candidates import grid
from scalelab.advise.check import Checked, check
from scalelab.advise.next import Choice, choose_from
from scalelab.advise.quantities import Asked
from scalelab.advise.state import State
from scalelab.laws.registry import Array
from scalelab.laws.result import finite

STUDIES, CURVE_STUDIES, CURVE_RANDOM = 30, 24, 72
BUDGETS = 9
DECADES = 2.0


@dataclass(frozen=True)
class Advice:
    """A choice, what simulation makes of it and of the plain strategies, and the curve of costs."""

    choice: Choice
    chosen: Checked
    larger: Checked
    random: Checked
    curve: tuple[dict[str, Any], ...]

    def lines(self) -> list[str]:
        """Text for a terminal."""
        choice, now = self.choice, self.choice.state
        asked, pool = now.asked, choice.candidates
        half = f" (half-width {_number(now.half_width)})" if np.isfinite(now.half_width) else ""
        lines = [
            f"{asked.text} = {_number(now.value)} {_ends(*now.ends)} now{half}; "
            f"{len(now.points.x)} points, noise {now.noise:.2%}",
            *(f"note: {text}" for text in now.notes),
        ]
        train = "; ".join(pool.describe(place) for place in choice.chosen)
        total = f", together {choice.flops:.3g} FLOPs" if len(choice.chosen) > 1 else ""
        lines.append(f"train {train}{total}: expected {self._told(self.chosen)}")
        plain = "; ".join(pool.describe(place) for place in choice.larger)
        if choice.larger == choice.chosen:
            lines.append("that is also the next larger size")
        else:
            lines.append(f"the next larger size, {plain}, would give {self._told(self.larger)}")
        many = "a random run" if len(choice.chosen) == 1 else f"{len(choice.chosen)} random runs"
        lines.append(f"{many} within the budget would give {self._told(self.random)}")
        lines.append(
            f"{now.level:.0%} intervals of {now.sure.method} kind, medians of "
            f"{self.chosen.studies} simulated outcomes; half-widths {UNITS[asked.unit]}; "
            "they hold if the form of the law does"
        )
        return lines

    def _told(self, one: Checked) -> str:
        if not np.isfinite(one.half_width):
            return f"an open interval ({one.open:.0%} of outcomes)"
        some = f", open in {one.open:.0%} of outcomes" if one.open else ""
        return f"{_ends(one.low, one.high)} (half-width {_number(one.half_width)}{some})"

    def to_json(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        choice, now = self.choice, self.choice.state
        pool = choice.candidates
        return {
            "law": now.best.base.name,
            "params": now.best.params,
            "quantity": now.asked.text,
            "unit_of_half_widths": UNITS[now.asked.unit],
            "value": now.value,
            "interval": [finite(end) for end in now.ends],
            "half_width": finite(now.half_width),
            "level": now.level,
            "interval_method": now.sure.method,
            "noise": now.noise,
            "notes": list(now.notes),
            "budget_flops": choice.budget,
            "runs": [pool.row(place) for place in choice.chosen],
            "flops": choice.flops,
            "log_gain_per_flop": choice.gain_per_flop,
            "expected": self.chosen.to_json(),
            "next_larger": {
                "runs": [pool.row(place) for place in choice.larger],
                "expected": self.larger.to_json(),
            },
            "random": {"expected": self.random.to_json()},
            "by_information_matrix": {
                "now": finite(choice.now),
                "chosen": finite(choice.half_width),
                "next_larger": finite(choice.larger_half_width),
                "random": finite(choice.random_half_width),
            },
            "curve": [
                {k: finite(v) if isinstance(v, float) else v for k, v in row.items()}
                for row in self.curve
            ],
        }


UNITS = {"": "in the quantity's own unit", "nats": "in nats", "ln": "of the natural logarithm"}


def advise(choice: Choice, seed: int = 0, studies: int = STUDIES, **limits: Any) -> Advice:
    """Check a choice by simulation and draw up what other budgets would give.

    limits: max_n, max_d and sizes of the grid, for the curve.
    """
    now, x = choice.state, choice.candidates.x
    random = [choice.random_sets[i % len(choice.random_sets)] for i in range(studies)]
    return Advice(
        choice=choice,
        chosen=check(now, x, [choice.chosen] * studies, seed),
        larger=check(now, x, [choice.larger] * studies, seed),
        random=check(now, x, random, seed),
        curve=tuple(curve(now, budgets(choice), max(len(choice.chosen), 1), seed, **limits)),
    )


def budgets(choice: Choice) -> Array:
    """Budgets (b,) from a hundredth of the one asked, or the cheapest run, up to it."""
    cheapest = float(choice.candidates.flops.min()) * 1.01
    low = max(choice.budget * 10**-DECADES, cheapest * max(len(choice.chosen), 1))
    if low >= choice.budget:
        return np.array([choice.budget])
    return np.geomspace(low, choice.budget, BUDGETS)


def curve(
    now: State, flops: Array, runs: int = 1, seed: int = 0, **limits: Any
) -> list[dict[str, Any]]:
    """Expected half-width against cost: for each budget (b,) the best runs and the plain ones.

    Medians over simulated outcomes, by the delta method; random_low and random_high hold 80% of
    the random choices. Where a wide prior takes part, by the information matrix with that prior.
    A budget is never worse than a smaller one, since it may be left unspent.
    """
    rows: list[dict[str, Any]] = []
    for budget in np.sort(flops):
        pool = grid(now.points, float(budget), **limits)
        one = choose_from(now, pool, float(budget), runs, seed)
        if now.regularised:
            # Where a fit may well stay open, its delta method says nothing.
            low, high = np.quantile(one.random_half_widths, [0.1, 0.9])
            wide: tuple[float, ...] = (
                one.half_width,
                one.larger_half_width,
                one.random_half_width,
                low,
                high,
            )
        else:
            wide = _simulated(one, seed)
        keys = ("half_width", "next_larger", "random", "random_low", "random_high")
        row: dict[str, Any] = dict(zip(keys, map(float, wide), strict=True))
        row |= {
            "budget_flops": float(budget),
            "runs": [pool.row(place) for place in one.chosen],
        }
        if rows and rows[-1]["half_width"] < row["half_width"]:
            row |= {key: rows[-1][key] for key in ("half_width", "runs")}
        rows.append(row)
    return rows


def _simulated(one: Choice, seed: int) -> tuple[float, ...]:
    """Median half-widths with the chosen runs, the next larger, a random choice; 80% of those."""
    some = [one.random_sets[i % len(one.random_sets)] for i in range(CURVE_RANDOM)]
    same = [[one.chosen] * CURVE_STUDIES, [one.larger] * CURVE_STUDIES, some]
    x = one.candidates.x
    best, larger, random = (check(one.state, x, sets, seed, exact=False) for sets in same)
    middle = (best.half_width, larger.half_width, random.half_width)
    return (*middle, random.half_width_low, random.half_width_high)


def _number(value: float) -> str:
    return f"{value:.3g}"


def _ends(low: float, high: float) -> str:
    told = ("open" if not np.isfinite(end) else f"{end:.3g}" for end in (low, high))
    return f"[{', '.join(told)}]"


def label(asked: Asked) -> str:
    """The axis of a half-width."""
    unit = {"": "", "nats": " (nats)", "ln": " (ln)"}[asked.unit]
    between = "\n" if len(asked.text) > 8 else " "
    return f"expected half-width of{between}{asked.text}{unit}"
