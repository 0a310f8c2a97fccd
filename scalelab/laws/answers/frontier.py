"""How to spend compute: the three approaches of Hoffmann et al. 2022 on one table of runs.

Section 3 of arXiv:2203.15556: the envelope of curves (3.1), the minima of IsoFLOP profiles (3.2),
and the law L(N, D) (3.3). Each gives N_opt = G C^a and D_opt ~ C^b. Approaches that the runs do not
allow are there with the reason.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.errors import UserError
from scalelab.laws.allocation import closed
from scalelab.laws.allocation.allocate import allocate
from scalelab.laws.allocation.envelope import envelope
from scalelab.laws.allocation.exponents import Frontier, PowerLaw
from scalelab.laws.allocation.isoflop import find_profiles, isoflop
from scalelab.laws.answers.curves import finished_runs, training_curves
from scalelab.laws.answers.profiles import profile_blocks, sizes_to_add
from scalelab.laws.answers.registry import Block, Material, answer
from scalelab.laws.fitting import fit
from scalelab.laws.registry import get
from scalelab.laws.result import FitResult, finite
from scalelab.laws.runs.rows import failed
from scalelab.laws.shapes.sums import PowerSum
from scalelab.laws.spent import number, spent
from scalelab.laws.uncertainty.springs import Target

if TYPE_CHECKING:
    from pandas import DataFrame

STEPS = 13
AHEAD = 10.0
"""The path is given up to this many times the largest budget."""
LAW_KEYS = (
    *("law", "formula", "latex", "x", "y", "params", "intervals", "convention"),
    *("interval_level", "interval_method", "not_determined"),
)


@answer(settings=("y", "level", "curves"))
def frontier(material: Material, settings: Mapping[str, Any]) -> Block:
    """Exponents of N_opt and D_opt by each approach, N_opt at the largest budget, and the cost.

    settings: y, the loss column (loss_nats); level of the intervals (0.95); curves, `training` or
    `finished`: what the envelope is made of (training curves where there are any).

    Raises:
        UserError: a setting that cannot be, no run that can be used, or no approach that can.
    """
    y, level = str(settings.get("y", "loss_nats")), float(settings.get("level", 0.95))
    if not 0 < level < 1:
        raise UserError(f"level is {level}: expected a number between 0 and 1, say 0.95")
    if settings.get("curves") not in (None, "training", "finished"):
        raise UserError(f"curves {settings['curves']!r}: expected training or finished")
    flops = budgets(material.runs)
    asked: dict[str, Callable[[], Block]] = {
        "parametric": lambda: _parametric(material, flops, y, level),
        "isoflop": lambda: _isoflop(material.runs, flops, y, level),
        "envelope": lambda: _envelope(material, flops, y, level, settings.get("curves")),
    }
    blocks = []
    for name, make in asked.items():
        try:
            blocks.append({"approach": name, "reason": None, **make()})
        except UserError as error:
            blocks.append({"approach": name, "reason": str(error), "warnings": []})
    made = [block for block in blocks if block["reason"] is None]
    for block in made:
        block["warnings"] = [*block["warnings"], *_far(block["at"], material.runs)]
    if not made and not any(block.get("profiles") for block in blocks):
        reasons = "; ".join(f"{block['approach']}: {block['reason']}" for block in blocks)
        raise UserError(f"no approach gives a frontier: {reasons}")
    return {
        "y": y,
        "level": level,
        "budgets": flops,
        "approaches": blocks,
        "agreement": agreement(made),
        "cost": spent(material.runs.to_dict("records")),
        "warnings": [f"{b['approach']}: {text}" for b in blocks for text in b["warnings"]],
    }


def budgets(runs: "DataFrame") -> list[float]:
    """The FLOP budgets of the design in rising order, else the least and the most FLOPs of a run.

    Raises:
        UserError: no good run has FLOPs.
    """
    rows = [row for row in runs.to_dict("records") if not failed(row.get("status"))]
    for column in ("budget", "C", "C_6ND"):
        values = {v for row in rows if (v := number(row.get(column))) is not None and v > 0}
        if values:
            found = sorted(values)
            return found if column == "budget" else [found[0], found[-1]]
    raise UserError("no run that ended well has FLOPs (columns budget, C)")


def _far(at: Block, runs: "DataFrame") -> list[str]:
    """Whether the optimum at the largest budget lies outside the sizes of the design."""
    rows = [row for row in runs.to_dict("records") if not failed(row.get("status"))]
    sizes = [size for row in rows if (size := number(row["N"]))]
    where = f"at C = {at['flops']:.3g} N_opt = {at['N'][0]:.3g} is extrapolated"
    if at["N"][0] > max(sizes):
        return [f"{where}: {at['N'][0] / max(sizes):.2g} times the largest size"]
    if at["N"][0] < min(sizes):
        return [f"{where}: 1/{min(sizes) / at['N'][0]:.2g} of the smallest size"]
    return []


def agreement(made: list[Block]) -> str | None:
    """A sentence on whether the intervals of the exponent of N_opt have a value in common."""
    pairs = [(block, block["N_opt"]["interval"]) for block in made]
    # Exponents that were tied have an interval of no width: they are an assumption.
    known = [one for one, ends in pairs if None not in ends and ends[0] < ends[1]]
    if len(known) < 2:
        return None
    low = max(block["N_opt"]["interval"][0] for block in known)
    high = min(block["N_opt"]["interval"][1] for block in known)
    names = ", ".join(block["approach"] for block in known)
    if low <= high:
        return f"the intervals of the exponent of N_opt ({names}) share {low:.3f} to {high:.3f}"
    return f"the intervals of the exponent of N_opt ({names}) have no value in common"


def _parametric(material: Material, flops: list[float], y: str, level: float) -> Block:
    law = _law(material, y, level)
    form = get(law.law)
    found = allocate(law, flops[-1], level=level)
    at = {"N": found.n, "D": found.d, "tokens_per_parameter": found.tokens_per_parameter}
    at["loss"] = found.loss
    exponents = {
        name: {"exponent": value, "interval": [low, high]}
        for name, (value, low, high) in found.exponents.items()
    }
    warnings = [text for text in law.warnings if "not determined" in text or "fitted" in text]
    if law.best.constraints.tied:
        pairs = ", ".join(" = ".join(pair) for pair in law.best.constraints.tied)
        warnings.append(f"the exponents are those of a law with {pairs}, which sets them")
    return {
        "source": "Hoffmann et al. 2022 (arXiv:2203.15556), section 3.3 and equation 4",
        "law": {**{key: law.block[key] for key in LAW_KEYS}, "source": form.source},
        "convention": law.block["convention"],
        "N_opt": exponents["N"],
        "D_opt": exponents["D"],
        "interval_method": found.interval_method,
        "at": {"flops": flops[-1]}
        | {name: [value, *found.intervals[name]] for name, value in at.items()},
        "path": _parametric_path(law, _path_flops(flops), level),
        "warnings": warnings,
    }


def _parametric_path(law: FitResult, flops: list[float], level: float) -> list[Block]:
    """N and D along C by equation 4. All intervals at once; that of D follows from 6 N D = C."""
    form = get(law.law)
    assert isinstance(form, PowerSum)

    def log_n(params: Any, cost: Any) -> Any:
        return closed.optimum(form, params, cost)[0]

    ends = law.sure.ends([Target(function=log_n, at=cost) for cost in flops], level)
    steps = []
    for cost, (low, high) in zip(flops, ends, strict=True):
        middle = closed.optimum(form, law.params, cost)[0]
        n = [finite(float(np.exp(v))) for v in (middle, low, high)]
        d = [finite(float(cost / 6 * np.exp(-v))) for v in (middle, high, low)]
        steps.append({"flops": cost, "N": n, "D": d})
    return steps


def _law(material: Material, y: str, level: float) -> FitResult:
    """The study's fit of a floor and a power of N and of D; a free one before a tied one."""
    suited = [one for one in material.fits if one.y == y and closed.possible(get(one.law))]
    suited.sort(key=lambda one: bool(one.best.constraints.tied))
    law = suited[0] if suited else fit("chinchilla", material.runs, y=y, level=level)
    if not closed.possible(get(law.law)):
        raise UserError(law.warnings[0])  # N and D are one variable in these rows
    return law


def _isoflop(runs: "DataFrame", flops: list[float], y: str, level: float) -> Block:
    import pandas as pd

    if "budget" not in runs.columns or not pd.to_numeric(runs["budget"], errors="coerce").any():
        raise UserError("no run has a budget (column budget): the design has no IsoFLOP curves")
    rows = runs[pd.to_numeric(runs["budget"], errors="coerce") > 0]
    profiles = find_profiles(rows, y=y, budget="budget")[0]
    shown = {"profiles": profile_blocks(profiles, level)}
    added = sizes_to_add(profiles)
    try:
        found = isoflop(rows, y=y, budget="budget", level=level)
    except UserError as error:
        return {**shown, "reason": str(error), "warnings": added}
    made = found.to_json()
    # What to add says more than which end it is at.
    told = [text for text in made["warnings"] if not (added and text.startswith("left out"))]
    return {
        "source": made["source"],
        "convention": f"{made['convention']} (nominal)",
        **_through(found.frontier, flops),
        **shown,
        "warnings": [*told, *added],
    }


def _envelope(
    material: Material, flops: list[float], y: str, level: float, wanted: str | None
) -> Block:
    curves = None
    if wanted != "finished" and y == "loss_nats":
        curves = training_curves(material.runs, material.runs_root)
    if wanted == "training" and curves is None:
        raise UserError("there are no training curves (a folder of runs, metrics.jsonl in each)")
    warnings = []
    if curves is None:
        made_of, table = "held-out losses of finished runs, one curve a size", None
    else:
        made_of, table = "training curves", curves
        kinds = material.runs.get("schedule")
        if kinds is not None and set(kinds.dropna()) - {"constant"}:
            warnings.append(
                "the learning rate comes down at the end of a run, so losses before it are too high"
            )
    table = finished_runs(material.runs, y) if table is None else table
    found = envelope(table, y=y, run="run", level=level)
    made = found.to_json()
    return {
        "source": made["source"],
        "convention": made["convention"],
        "made_of": made_of,
        **_through(found.frontier, flops),
        "envelope": made["envelope"],
        "warnings": [*warnings, *made["warnings"]],
    }


def _through(found: Frontier, flops: list[float]) -> Block:
    """What the two regressions through optima have in common."""
    at: dict[str, Any] = {"flops": flops[-1]}
    at |= {name: list(item) for name, item in found.at(flops[-1]).items()}
    path = [
        {"flops": cost, "N": _value(found.n_law, cost), "D": _value(found.d_law, cost)}
        for cost in _path_flops(flops)
    ]
    block = found.to_json()
    return {
        "N_opt": block["N_opt"],
        "D_opt": block["D_opt"],
        "interval_method": "Student's t on the regression of logs, one point a "
        "budget or size; the error of each optimum is in their scatter",
        "pairs": block["pairs"],
        "at": at,
        "path": path,
    }


def _value(law: PowerLaw, flops: float) -> list[float | None]:
    low, high = law.interval_at(flops)[0]
    return [float(law.predict(flops)[0]), finite(low), finite(high)]


def _path_flops(flops: list[float]) -> list[float]:
    """Budgets from the least one to ten times the largest, which is among them."""
    inside = np.geomspace(flops[0], flops[-1], STEPS) if flops[-1] > flops[0] else flops[:1]
    beyond = flops[-1] * np.geomspace(1, AHEAD, STEPS // 2 + 1)[1:]
    return [*map(float, inside), *map(float, beyond)]
