"""IsoFLOP profiles: at each FLOP budget, the model size of least loss.

Hoffmann et al. 2022 (arXiv:2203.15556), section 3.2, "Approach 2": in each budget a parabola in
ln N (of the loss there, of its log here, as in every fit of this package), its minimum, and power
laws through the minima. A parabola is only the start of the loss's series, so it misplaces the
optimum on a wide grid. Measured on the law
1.69 + 406.4/N^0.34 + 410.7/D^0.28 without noise, C from 1e18 to 1e22, 7 to 15 sizes, grids centred
on the optimum in ln N: N_opt comes out 1.3 to 1.5% too large at a half-width of x4, 2.9 to 3.4% at
x8, 7.8 to 9.3% at x32; a cubic errs by under 0.1% at x8 and 0.6% at x32. The same error at each
budget leaves the exponents alone; one that drifts does not (Czech et al. 2026, arXiv:2603.22339).
Hence only sizes within `window` of the best one take part.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.errors import UserError
from scalelab.laws.allocation.exponents import Frontier, describe, frontier
from scalelab.laws.registry import Array
from scalelab.laws.runs.points import CONVENTIONS, Points, missing_column, prepare

if TYPE_CHECKING:
    from pandas import DataFrame

WINDOW = 8.0
WIDE = 4.0
NOT_BRACKETED = "minimum not bracketed"
EDGE = "optimum at the edge of the profile"


@dataclass(frozen=True)
class Profile:
    """One budget. n, d, loss (k,): its sizes in rising order, the mean over seeds of each.

    used (k,): which of them the polynomial was fitted to. n_opt, d_opt, loss_opt and log_sd (the
    standard error of ln n_opt) are None where `refused` says why. half_width: the larger ratio of
    n_opt to the smallest size used, or of the largest to it.
    """

    flops: float
    n: Array
    d: Array
    loss: Array
    used: Array
    n_opt: float | None = None
    d_opt: float | None = None
    loss_opt: float | None = None
    log_sd: float | None = None
    half_width: float | None = None
    at_edge: bool = False
    refused: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        sizes = zip(self.n, self.d, self.loss, self.used, strict=True)
        return {
            "flops": self.flops,
            "N_opt": self.n_opt,
            "D_opt": self.d_opt,
            "loss_opt": self.loss_opt,
            "log_sd": self.log_sd,
            "half_width": self.half_width,
            "refused": self.refused,
            "sizes": [
                {"N": float(n), "D": float(d), "loss": float(v), "used": bool(u)}
                for n, d, v, u in sizes
            ],
        }


@dataclass(frozen=True)
class IsoFlop:
    """All profiles and the frontier through the minima of those that were not refused."""

    profiles: tuple[Profile, ...]
    frontier: Frontier
    degree: int
    window: float | None
    convention: str
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "approach": "isoflop",
            "source": "Hoffmann et al. 2022 (arXiv:2203.15556), section 3.2",
            "degree": self.degree,
            "window": self.window,
            "convention": self.convention,
            "profiles": [profile.to_json() for profile in self.profiles],
            **self.frontier.to_json(),
            "warnings": list(self.warnings),
        }

    def summary(self) -> str:
        """A few lines for a terminal."""
        block = self.to_json()
        kept = sum(profile.refused is None for profile in self.profiles)
        lines = [
            f"IsoFLOP profiles, degree {self.degree}; {self.convention}",
            f"{kept} of {len(self.profiles)} budgets have a minimum",
            describe(block["N_opt"], "N_opt"),
            describe(block["D_opt"], "D_opt"),
        ]
        return "\n".join([*lines, *(f"warning: {text}" for text in self.warnings)])


def isoflop(
    runs: "DataFrame",
    n: str = "N",
    y: str = "loss_nats",
    budget: str | None = None,
    flops: str | None = None,
    tolerance: float = 0.1,
    degree: int = 2,
    window: float | None = WINDOW,
    min_sizes: int | None = None,
    weighted: bool = False,
    level: float = 0.95,
) -> IsoFlop:
    """Fit one row per run, several model sizes in each of several FLOP budgets.

    Args:
        runs: a table with n, y and FLOPs. Tokens D where it has them are read between sizes, else
            D = C / (6 N). Rows that failed are left out and seeds of one size averaged, as in
            `laws.fit`.
        n, y: columns of the size (parameters) and of the loss (any positive unit).
        budget: a column of nominal FLOP budgets, each of its values one profile.
        flops: the column of FLOPs otherwise: C, else C_6ND, else 6 N D by default. FLOPs within
            `tolerance` (relative) of the least of a group are one budget, their geometric mean.
        degree: 2 (parabola) or 3 (cubic).
        window: largest ratio between a size and that of least loss in its profile, for sizes that
            take part (the nearest `min_sizes` always do); None takes all.
        min_sizes: fewer distinct sizes refuse a profile; degree + 2 by default.
        weighted: weight the exponents by 1 / log_sd^2 of the minima.

    Raises:
        UserError: bad rows or options, or fewer than two budgets whose minimum lies inside the
            sizes tried, with the reason for each.
    """
    profiles, points, source = find_profiles(
        runs, n, y, budget, flops, tolerance, degree, window, min_sizes
    )
    kept = [one for one in profiles if one.refused is None]
    refusals = "; ".join(f"C = {p.flops:.4g}: {p.refused}" for p in profiles if p.refused)
    if len(kept) < 2:
        raise UserError(
            f"{len(kept)} of {len(profiles)} FLOP budgets have a minimum inside the sizes tried, "
            f"expected two or more ({refusals or 'there is one budget alone'})"
        )
    sd = [one.log_sd for one in kept]
    if weighted and not all(sd):
        raise UserError("weighted: a profile has as many sizes as coefficients, so no error")
    return IsoFlop(
        profiles=tuple(profiles),
        frontier=frontier(
            [one.flops for one in kept],
            [one.n_opt for one in kept],
            [one.d_opt for one in kept],
            [one.loss_opt for one in kept],
            sd if weighted else None,
            level,
        ),
        degree=degree,
        window=window,
        convention=f"N: {_convention(n)}; C: {_convention(source)}",
        warnings=tuple(_rows_left_out(points) + _warnings(kept, refusals, degree)),
    )


def find_profiles(
    runs: "DataFrame",
    n: str = "N",
    y: str = "loss_nats",
    budget: str | None = None,
    flops: str | None = None,
    tolerance: float = 0.1,
    degree: int = 2,
    window: float | None = WINDOW,
    min_sizes: int | None = None,
) -> tuple[list[Profile], Points, str]:
    """The profile of each budget, by FLOPs, with the points behind them and the column of FLOPs.

    Arguments as of `isoflop`; a budget without a minimum is there with its reason.
    """
    least = degree + 2 if min_sizes is None else min_sizes
    _check_options(degree, window, tolerance, least)
    table, source = with_flops(runs, n, budget or flops)
    columns = (n, "D", source) if "D" in table.columns else (n, source)
    points = prepare(table, columns, y, cluster="none")
    size, cost = points.x[:, 0], points.x[:, -1]
    tokens = points.x[:, 1] if len(columns) == 3 else cost / (6 * size)
    group = np.unique(cost, return_inverse=True)[1] if budget else clusters(cost, tolerance)
    profiles = []
    for place in range(group.max() + 1):
        rows = group == place
        sizes = _sizes(size[rows], tokens[rows], points.log_loss[rows])
        flop = float(np.exp(np.log(cost[rows]).mean()))
        profiles.append(_profile(flop, *sizes, degree, window, least))
    return profiles, points, source


def with_flops(runs: "DataFrame", n: str, column: str | None = None) -> tuple["DataFrame", str]:
    """The table and its column of FLOPs: the one named, C, C_6ND, or 6 N D made from its tokens."""
    import pandas as pd

    found = [str(name) for name in runs.columns]
    if column is not None and column not in found:
        raise UserError(missing_column(column, found))
    column = column or next((name for name in ("C", "C_6ND") if name in found), None)
    if column is not None:
        return runs, column
    for name in (n, "D"):
        if name not in found:
            raise UserError(f"no column of FLOPs (C), and {missing_column(name, found)}")
    # What is no number becomes NaN here and is refused by name when the points are made.
    size, tokens = (pd.to_numeric(runs[name], errors="coerce") for name in (n, "D"))
    return runs.assign(C_6ND=6 * size * tokens), "C_6ND"


def _check_options(degree: int, window: float | None, tolerance: float, least: int) -> None:
    if degree not in (2, 3):
        raise UserError(f"degree is {degree}: expected 2 (parabola) or 3 (cubic)")
    if window is not None and not window > 1:
        raise UserError(f"window is {window}: expected a ratio of sizes above 1 such as 8")
    if not 0 < tolerance < 1:
        raise UserError(f"tolerance is {tolerance}: expected a number between 0 and 1 such as 0.1")
    if least <= degree:
        raise UserError(f"min_sizes is {least}: degree {degree} needs {degree + 1} or more")


def _convention(column: str) -> str:
    return CONVENTIONS.get(column, f"column {column!r}")


def clusters(flops: Array, tolerance: float) -> np.ndarray:
    """A number for each row (k,): a group is all within `tolerance` of its least FLOPs."""
    group, start, number = np.empty(len(flops), int), -np.inf, -1
    for place in np.argsort(flops, kind="stable"):
        if flops[place] > start * (1 + tolerance):
            start, number = flops[place], number + 1
        group[place] = number
    return group


def _sizes(n: Array, d: Array, log_loss: Array) -> tuple[Array, Array, Array]:
    """Distinct sizes in rising order, with the geometric mean of tokens and of the loss of each."""
    distinct, place, count = np.unique(n, return_inverse=True, return_counts=True)
    logs = (np.bincount(place, np.log(d)) / count, np.bincount(place, log_loss) / count)
    return distinct, np.exp(logs[0]), np.exp(logs[1])


def _profile(
    flops: float, n: Array, d: Array, loss: Array, degree: int, window: float | None, least: int
) -> Profile:
    """The minimum of a polynomial of ln loss in ln N, or why there is none."""
    logs = np.log(n)
    best = int(np.argmin(loss))
    distance = np.abs(logs - logs[best])
    inside = (distance <= np.log(window or np.inf)).sum()
    used = np.zeros(len(n), bool)
    used[np.argsort(distance, kind="stable")[: max(int(inside), least)]] = True
    empty = Profile(flops, n, d, loss, used)
    if len(n) < least:
        return replace(empty, refused=f"{len(n)} sizes, {least} are needed")
    x, target = logs[used] - logs[best], np.log(loss[used])
    found = _minimum(x, target, degree)
    if found is None or best in (0, len(n) - 1):
        falls = {0: "smallest", len(n) - 1: "largest"}.get(best)
        where = f", the least loss is at the {falls} size {n[best]:.4g}" if falls else ""
        return replace(empty, refused=NOT_BRACKETED + where)
    vertex, value, error = found
    share = (vertex - x[0]) / (x[-1] - x[0])
    n_opt = float(np.exp(vertex + logs[best]))
    return replace(
        empty,
        n_opt=n_opt,
        d_opt=float(np.exp(np.interp(np.log(n_opt), logs, np.log(d)))),
        loss_opt=float(np.exp(value)),
        log_sd=error,
        half_width=float(np.exp(max(vertex - x[0], x[-1] - vertex))),
        at_edge=bool(min(share, 1 - share) < 0.25),
    )


def _minimum(x: Array, y: Array, degree: int) -> tuple[float, float, float | None] | None:
    """Place, value and standard error of the place of the least point of a polynomial within x.

    The error is that of the delta method: the slope's error at the minimum over the curvature.
    """
    design = np.vander(x, degree + 1, increasing=True)
    coefficients = np.linalg.lstsq(design, y, rcond=None)[0]
    curve = np.polynomial.Polynomial(coefficients)
    slope, bend = curve.deriv(), curve.deriv(2)
    roots = [float(r.real) for r in slope.roots() if abs(r.imag) < 1e-9 and bend(r.real) > 0]
    inside = [r for r in roots if x[0] < r < x[-1]]
    if not inside or curve(inside[0]) > min(curve(x[0]), curve(x[-1])):
        return None
    place, spare = inside[0], len(x) - degree - 1
    if spare < 1:
        return place, float(curve(place)), None
    variance = float(((y - curve(x)) ** 2).sum()) / spare
    powers = np.arange(1, degree + 1)
    by = np.concatenate([[0.0], powers * place ** (powers - 1)])
    spread = by @ np.linalg.solve(design.T @ design, by)
    return place, float(curve(place)), float(np.sqrt(variance * spread) / bend(place))


def _rows_left_out(points: Points) -> list[str]:
    """Sentences on runs that failed and rows that another of the same size and FLOPs beats."""
    failed = [str(row["label"]) for row in points.excluded]
    groups = {"that failed": failed, **{k: list(v) for k, v in points.cells.aside.items()}}
    return [
        f"{len(names)} rows {reason}: {', '.join(names[:6])}{' and more' * (len(names) > 6)}"
        for reason, names in groups.items()
        if names
    ]


def _warnings(kept: list[Profile], refusals: str, degree: int) -> list[str]:
    """Sentences on what was left out and on grids that bias the optimum."""
    warnings = [f"left out: {refusals}"] if refusals else []
    edge = [p for p in kept if p.at_edge]
    if edge:
        named = ", ".join(f"C = {p.flops:.4g}" for p in edge)
        warnings.append(f"{EDGE} (its outer quarter) at {named}: add sizes on that side")
    wide = [p for p in kept if (p.half_width or 0) > WIDE * 1.1]
    if wide and degree == 2:
        most = max(p.half_width or 0 for p in wide)
        warnings.append(
            f"{len(wide)} of {len(kept)} profiles reach further than x{WIDE:g} from their optimum "
            f"(up to x{most:.3g}): a parabola misplaces it there (1.4% at x4, 3% at x8, 9% at x32 "
            "on a centred grid); compare degree 3 or a narrower window"
        )
    if len(kept) == 2:
        warnings.append("two budgets give exponents without an interval")
    return warnings
