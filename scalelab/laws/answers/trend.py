"""How what was measured beside the loss moves with size: a straight line in log10 N.

No law is claimed for these; the slope says what a tenfold of N changes on average, and whether each
size is above the one before it says where a line is too simple. Ordinary least squares with
Student's interval (Draper and Smith 1998, section 1.4).
"""

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.errors import UserError
from scalelab.evaluation.columns import CHANCE, SPEED
from scalelab.laws.allocation.isoflop import clusters
from scalelab.laws.answers.registry import Block, Material, answer
from scalelab.laws.registry import Array
from scalelab.laws.result import finite
from scalelab.laws.runs.points import missing_column
from scalelab.laws.runs.rows import failed

if TYPE_CHECKING:
    from pandas import DataFrame

FEWEST = 3
ERROR = "_se"
SAME_TOKENS = 0.02
"""D this near is one: a whole number of steps is not the same number of tokens for all sizes."""
Group = tuple[float | None, "DataFrame"]


@answer(settings=("level",))
def trend(material: Material, settings: Mapping[str, Any]) -> Block:
    """Slope per tenfold of N of every measured column (`induction/score`), with its interval.

    settings: level of the intervals (0.95). A study whose sizes were trained at several D alike has
    a line for each of these; of one whose D goes with the size, the runs of most tokens count.

    Raises:
        UserError: no measured column, or none with three sizes.
    """
    level = float(settings.get("level", 0.95))
    if not 0 < level < 1:
        raise UserError(f"level is {level}: expected a number between 0 and 1")
    groups, warnings = _groups(material.runs)
    names = [str(name) for name in material.runs.columns if "/" in str(name)]
    # Bytes follow from the shape, views of canaries and chance from the text, speed is of the
    # machine: no trend to find.
    names = [name for name in names if not name.endswith((ERROR, "_bytes", CHANCE, SPEED))]
    names = [name for name in names if not name.startswith("canaries/seen_")]
    if not names:
        raise UserError("no column of a measure, such as induction/score: see evaluation.measures")
    rows = []
    for name, (tokens, frame) in itertools.product(names, groups):
        used = frame[np.isfinite(frame[name].astype(float))]
        if used["N"].nunique() < FEWEST:
            warnings.append(f"{name}: {used['N'].nunique()} sizes, a trend needs {FEWEST}")
            continue
        errors = used.get(f"{name}{ERROR}")
        row = _row(name, _values(used["N"]), _values(used[name]), errors, level)
        rows.append({"tokens": tokens, **row})
    if not rows:
        raise UserError(f"a trend needs {FEWEST} sizes, found fewer of every measure")
    return {"level": level, "rows": rows, "cost": None, "warnings": warnings}


def _values(column: Any) -> Array:
    return np.asarray(column, dtype=float)


def _groups(runs: "DataFrame") -> tuple[list[Group], list[str]]:
    """The runs that ended well by their D, or those of most tokens of each size as one group."""
    for column in ("N", "D"):
        if column not in runs.columns:
            raise UserError(missing_column(column, [str(name) for name in runs.columns]))
    good = runs[~runs["status"].map(failed)] if "status" in runs.columns else runs
    places = clusters(_values(good["D"]), SAME_TOKENS)
    parts = [good[places == place] for place in np.unique(places)]
    whole: list[Group] = [
        (float(part["D"].median()), part) for part in parts if part["N"].nunique() >= FEWEST
    ]
    if len(whole) > 1:
        left = len(good) - sum(len(part) for _, part in whole)
        told = f"{left} runs have a D that fewer than {FEWEST} sizes have, and are left out"
        return whole, [told] if left else []
    most = good.groupby("N")["D"].transform("max")
    left = int((good["D"] < most).sum())
    kept = good[good["D"] == most]
    said = [f"{left} runs of fewer tokens than others of their size are left out"] if left else []
    if len(np.unique(clusters(_values(kept["D"]), SAME_TOKENS))) > 1:
        said.append("D differs between the sizes: the slopes are those of N and D together")
    return [(None, kept)], said


def _row(name: str, n: Array, y: Array, errors: Any, level: float) -> dict[str, Any]:
    """One column: its line, its ends, and the mean at each size with what it is uncertain by."""
    from scipy.special import stdtrit

    x = np.log10(n)
    centre = x - x.mean()
    square = float(centre @ centre)
    # From the first value, so that what is the same for all has a slope of exactly none.
    moved = y - y[0]
    slope = float(centre @ moved) / square
    left = moved - moved.mean() - slope * centre
    spare = len(y) - 2
    error = math.sqrt(float(left @ left) / spare / square)
    away = float(stdtrit(spare, 0.5 + level / 2)) * error
    sizes = []
    for size in np.unique(n):
        here = n == size
        known = None if errors is None else _values(errors)[here]
        sizes.append(
            {
                "N": float(size),
                "value": float(y[here].mean()),
                # Of the text that it was measured on; what seeds differ by shows in the points.
                "se": None if known is None else finite(float(np.sqrt((known**2).mean()))),
                "runs": int(here.sum()),
            }
        )
    steps = np.diff([one["value"] for one in sizes])
    return {
        "column": name,
        "slope": slope,
        "interval": [finite(slope - away), finite(slope + away)],
        "line": [float(y.mean() - slope * x.mean()), slope],
        "steady": bool((steps > 0).all() or (steps < 0).all()),
        "sizes": sizes,
    }
