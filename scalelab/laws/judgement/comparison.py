"""What a comparison of laws returns: a row for each law, and predictions averaged over them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.laws.estimation.estimate import Estimate
from scalelab.laws.judgement.average import (
    Predictive,
    mixed_scores,
    mixture_quantiles,
    predictive,
    scores,
)
from scalelab.laws.judgement.references import NOTE as PUBLISHED_NOTE
from scalelab.laws.judgement.references import Reference
from scalelab.laws.registry import Array
from scalelab.laws.result import matrix, unit_of
from scalelab.laws.runs.points import Points
from scalelab.laws.settings import Settings
from scalelab.laws.uncertainty.intervals import Uncertainty

if TYPE_CHECKING:
    from pandas import DataFrame

FACTORS = (2, 10)
NOTE = (
    "each law's interval is conditional on its form; the average holds what the forms disagree on "
    "and what they missed at the sizes left out"
)


@dataclass(frozen=True)
class Rival:
    """One law of a comparison. log_density is the mean over the points left out; inside counts
    those within the interval of the law's prediction. widening and weight are those of the law's
    part in the average. `reason` says why numbers are missing.
    """

    name: str
    law: str
    tied: tuple[tuple[str, str], ...] = ()
    params: dict[str, float] = field(default_factory=dict)
    parameters: int | None = None
    sigma_log: float | None = None
    aicc: float | None = None
    delta_aicc: float | None = None
    akaike_weight: float | None = None
    log_density: float | None = None
    rms_error_relative: float | None = None
    inside: int | None = None
    left_out: int | None = None
    widening: float | None = None
    weight: float = 0.0
    reason: str | None = None


@dataclass(frozen=True)
class Fitted:
    """A law fitted to all points: its estimate, its uncertainty, and where its x stand."""

    name: str
    best: Estimate = field(repr=False)
    sure: Uncertainty = field(repr=False)
    places: tuple[int, ...]
    weight: float = 1.0
    widening: float = 1.0

    def at(self, x: Array, level: float) -> Predictive:
        """Its distribution of one new run at x (n, m), the columns of the comparison."""
        return predictive(self.best, self.sure, x[:, list(self.places)], level)


@dataclass(frozen=True)
class Comparison:
    """All laws that were compared, best extrapolation first; predictions are averaged by weight.

    averaged: the scores of the average itself, where widening and weights for each group of
    left-out sizes come from the other groups.
    """

    rivals: tuple[Rival, ...]
    points: Points = field(repr=False)
    fitted: tuple[Fitted, ...] = field(repr=False)
    weights_method: str
    averaged: dict[str, Any]
    left_out: tuple[tuple[float, ...], ...]
    settings: Settings
    warnings: tuple[str, ...] = ()
    published: tuple[Reference, ...] = ()

    def predict(self, x: Any) -> Array:
        """Loss (n,), the median of the averaged distribution of one new run at each x."""
        return self._quantiles(x, [0.5])[:, 0]

    def interval(self, x: Any, level: float | None = None) -> Array:
        """Ends (n, 2) of the averaged interval of one new run at each x."""
        level = level or self.settings.level
        return self._quantiles(x, [0.5 - level / 2, 0.5 + level / 2])

    def _quantiles(self, x: Any, shares: Sequence[float]) -> Array:
        values = matrix(x, self.points.columns)
        return np.exp(mixture_quantiles(*self._mixture(values), shares))

    def _mixture(self, x: Array) -> tuple[list[Predictive], Array]:
        """The widened parts of the average at x (n, m), and their weights."""
        some = [one for one in self.fitted if one.weight > 0]
        parts = [one.at(x, self.settings.level).widened(one.widening) for one in some]
        return parts, np.array([one.weight for one in some])

    def score(self, x: Any, loss: Any) -> dict[str, dict[str, Any]]:
        """How well each law and the average predict other runs: losses (n,) at x, unit of y."""
        values, level = matrix(x, self.points.columns), self.settings.level
        observed = [np.log(np.asarray(loss, float))]
        found = {one.name: scores([one.at(values, level)], observed, level) for one in self.fitted}
        parts, weights = self._mixture(values)
        return {**found, "average": mixed_scores([parts], [weights], observed, level)}

    def predictions(self, x: Any) -> list[dict[str, Any]]:
        """A row for each x: the averaged prediction with its interval, and that of each law."""
        values, level = matrix(x, self.points.columns), self.settings.level
        middle, ends = self.predict(values), self.interval(values)
        each = {one.name: one.at(values, level) for one in self.fitted}
        theirs = {one.name: one.at(values) for one in self.published if one.reason is None}
        unit = unit_of(self.points.y)

        def row(i: int) -> dict[str, Any]:
            laws = {
                name: {
                    f"predicted_{unit}": float(np.exp(part.centre[i])),
                    "low": float(np.exp(part.ends(level)[i, 0])),
                    "high": float(np.exp(part.ends(level)[i, 1])),
                }
                for name, part in each.items()
            }
            return {
                **{c: float(v) for c, v in zip(self.points.columns, values[i], strict=True)},
                f"predicted_{unit}": float(middle[i]),
                "low": float(ends[i, 0]),
                "high": float(ends[i, 1]),
                "laws": laws,
                "published": {name: float(losses[i]) for name, losses in theirs.items()},
            }

        return [row(i) for i in range(len(values))]

    def extrapolation(self) -> list[dict[str, Any]]:
        """The averaged prediction at FACTORS times the largest x."""
        top = self.points.x[int(np.argmax(np.log(self.points.x).sum(1)))]
        rows = self.predictions(np.array(FACTORS, float)[:, None] * top)
        return [{"factor": f, **row} for f, row in zip(FACTORS, rows, strict=True)]

    def to_frame(self) -> "DataFrame":
        """A row for each law."""
        import pandas as pd

        keys = [k for k in asdict(self.rivals[0]) if k not in ("params", "tied")]
        return pd.DataFrame([{k: getattr(one, k) for k in keys} for one in self.rivals])

    def to_json(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        columns = self.points.columns
        return {
            "x": columns[0] if len(columns) == 1 else list(columns),
            "y": self.points.y,
            "points": len(self.points.x),
            "sizes": len(np.unique(self.points.x[:, 0])),
            "interval_level": self.settings.level,
            "laws": [{**asdict(one), "tied": [list(p) for p in one.tied]} for one in self.rivals],
            "sizes_left_out": [list(part) for part in self.left_out],
            "weights_method": self.weights_method,
            "averaged": self.averaged,
            "published": [one.to_json() for one in self.published],
            "extrapolation": self.extrapolation(),
            "interval_note": NOTE,
            "excluded": list(self.points.excluded),
            "set_aside": self.points.cells.to_json(),
            "settings": self.settings.to_json(),
            "warnings": list(self.warnings),
        }

    def summary(self) -> str:
        """A page of text: the laws, their scores, the average."""
        sizes, level = len(np.unique(self.points.x[:, 0])), f"{self.settings.level:.0%}"
        width = max(len(one.name) for one in self.rivals)
        left_out = ", ".join(_range(part) for part in self.left_out) or "none"
        lines = [
            f"{len(self.points.x)} points of {sizes} sizes ({', '.join(self.points.columns)}); "
            f"predicted in turn from all below: {left_out}",
            f"{'':{width}}  {'parameters':>10}  {'delta AICc':>10}  {'weight':>6}  "
            f"{'log density':>11}  {'error':>6}  {'inside':>10}  {'widening':>8}  {'share':>5}",
        ]
        lines += [_line(one, width) for one in self.rivals]
        if self.averaged:
            lines.append(_line(Rival("average", "", parameters=0, **self.averaged), width))
        lines.append(f"average of shares: {self.weights_method}")
        unit = unit_of(self.points.y)
        for row in self.extrapolation():
            where = ", ".join(f"{c} {row[c]:.4g}" for c in self.points.columns)
            low = min(one[f"predicted_{unit}"] for one in row["laws"].values())
            high = max(one[f"predicted_{unit}"] for one in row["laws"].values())
            lines.append(
                f"{row['factor']:g} times the largest ({where}): {row[f'predicted_{unit}']:.4f} "
                f"[{row['low']:.4f}, {row['high']:.4f}], the laws from {low:.4f} to {high:.4f}"
            )
        lines.append(f"{level} intervals of one new run: {NOTE}")
        lines += _published(self.published)
        return "\n".join([*lines, *(f"warning: {text}" for text in self.warnings)])


def _published(references: Sequence[Reference]) -> list[str]:
    """A line for each published law and, where some have numbers, what to make of them."""
    lines = []
    for one in references:
        if one.reason is not None:
            lines.append(f"published {one.name}: not scored: {one.reason}")
            continue
        shape = "" if one.shape_error is None else f", shape error {one.shape_error:.2%}"
        lines.append(
            f"published {one.name}: bias {one.bias_relative:+.2%}, error "
            f"{one.rms_error_relative:.2%}{shape} ({one.convention})"
        )
    if any(one.reason is None for one in references):
        lines.append(PUBLISHED_NOTE)
    return lines


def _range(part: Sequence[float]) -> str:
    return f"{part[0]:.4g}" if len(part) == 1 else f"{part[0]:.4g} to {part[-1]:.4g}"


def _line(one: Rival, width: int) -> str:
    """A row of the table; a score that is missing is a dash."""

    def cell(value: float | str | None, text: str, size: int) -> str:
        return f"{'-' if value is None else format(value, text):>{size}}"

    if one.parameters is None:
        return f"{one.name:{width}}  not fitted: {one.reason}"
    cells = [
        cell(one.parameters or None, "d", 10),
        cell(one.delta_aicc, ".1f", 10),
        cell(one.akaike_weight, ".2f", 6),
        cell(one.log_density, ".2f", 11),
        cell(one.rms_error_relative, ".2%", 6),
        cell(None if one.inside is None else f"{one.inside} of {one.left_out}", "", 10),
        cell(one.widening, ".2f", 8),
        cell(one.weight if one.law else None, ".2f", 5),
    ]
    return "  ".join([f"{one.name:{width}}", *cells]) + (f"  ({one.reason})" if one.reason else "")
