"""What a fit returns: numbers, intervals, checks, and the ways to print and store them."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.errors import UserError
from scalelab.laws import registry
from scalelab.laws.estimation.estimate import Estimate
from scalelab.laws.registry import Array
from scalelab.laws.runs.points import Points, missing_column
from scalelab.laws.uncertainty.bootstrap import Bootstrap
from scalelab.laws.uncertainty.intervals import Uncertainty
from scalelab.laws.uncertainty.springs import Quantity, Target

if TYPE_CHECKING:
    from pandas import DataFrame

GREEK = ("alpha", "beta", "gamma", "epsilon")


@dataclass(frozen=True)
class FitResult:
    """One fitted law. `params` are natural values at full precision; `block` is its JSON."""

    law: str
    columns: tuple[str, ...]
    y: str
    level: float
    params: dict[str, float]
    standard_errors: dict[str, float | None]
    intervals: dict[str, list[float | None]]
    warnings: tuple[str, ...]
    best: Estimate = field(repr=False)
    points: Points = field(repr=False)
    sure: Uncertainty = field(repr=False)
    block: dict[str, Any] = field(repr=False)

    @property
    def resamples(self) -> Bootstrap | None:
        """The fits of resamples, where the intervals asked for them."""
        return self.sure.drawn

    def predict(self, x: Any) -> Array:
        """Loss (n,) in units of y at x: a frame, a number, (n,) or (n, m) values."""
        form = registry.get(self.law)
        return predict_params(form, self.params, matrix(x, self.columns))

    def interval(self, x: Any, new_run: bool = False) -> Array:
        """Ends (n, 2) of the interval of the mean curve at x, or of one new run there."""
        low_high, _ = prediction_interval(
            self.best, matrix(x, self.columns), self.level, self.sure, new_run
        )
        return low_high

    def interval_of(
        self, function: Quantity, level: float | None = None
    ) -> tuple[float | None, float | None]:
        """Ends of the interval of any function of the parameters; None for an open end.

        function: from {parameter: value} to one value, written in NumPy functions (np.log,
        np.exp, arithmetic), such as `lambda p: p["beta"] / (p["alpha"] + p["beta"])`. A quantity
        that spans decades is better given as its logarithm.
        """
        low, high = self.sure.ends([Target(function=function)], level or self.level)[0]
        return finite(low), finite(high)

    def to_json(self) -> dict[str, Any]:
        """The fit as plain values for strict JSON; `predict` rebuilds the law from it."""
        return self.block

    def summary(self) -> str:
        """A page of text: parameters, intervals, checks, warnings."""
        return summary(self.block)

    def to_latex(self) -> str:
        """The law with its values, rounded for print; prediction never reads it."""
        return latex(self.block)


def matrix(x: Any, columns: Sequence[str]) -> Array:
    """x as (n, m) positive numbers; a frame or mapping is read by column name."""
    if isinstance(x, Mapping) or hasattr(x, "columns"):
        for column in columns:
            if column not in x:
                raise UserError(missing_column(column, [str(name) for name in x]))
        values = np.column_stack([np.atleast_1d(np.asarray(x[c], float)) for c in columns])
    else:
        values = np.asarray(x, float)
        values = values.reshape(-1, len(columns)) if values.ndim < 2 else values
    if values.shape[1] != len(columns):
        raise UserError(f"x has {values.shape[1]} columns: expected {', '.join(columns)}")
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise UserError(f"{', '.join(columns)} to predict at must be positive and finite")
    return values


def predict_params(form: registry.Form, params: Mapping[str, float], x: Array) -> Array:
    """Loss (n,) of natural parameters at x (n, m)."""
    return form.value(form.theta(params)[None], np.log(x))[0]


def predict(fit: Mapping[str, Any], x: Any) -> Array:
    """Loss (n,) from the JSON of a fit, in the units of its y, at the file's full precision.

    x: a frame with the fit's columns, a number, or an array (n,) or (n, m). Only `law` and
    `params` are needed; without `x` in the fit the law's own columns are expected.
    """
    try:
        form, params = registry.get(fit["law"]), dict(fit["params"])
        missing = [name for name in form.parameters if name not in params]
    except (KeyError, TypeError) as error:
        raise UserError(f"not the JSON of a fit: {error} is missing") from None
    if missing:
        raise UserError(f"the fit of {form.name} has no {', '.join(missing)}")
    columns = fit.get("x", form.columns)
    columns = (columns,) if isinstance(columns, str) else tuple(columns)
    return predict_params(form, params, matrix(x, columns))


def prediction_interval(
    best: Estimate, x: Array, level: float, sure: Uncertainty | None, new_run: bool
) -> tuple[Array, Array]:
    """Ends (n, 2) and predictions (n,) at x (n, m), natural units.

    For the mean curve by the method of the fit; without one, by profile likelihood. For one new
    run the residual noise is added in quadrature on the log scale.
    """
    sure = sure or Uncertainty(best, "profile", np.arange(len(best.problem.y)))
    u = best.centred(x)
    centre = best.log_loss(u)
    ends = sure.ends([Target(u=row) for row in u], level) + best.log_scale
    if new_run:
        noise = sure.noise(level)
        down = np.hypot(centre - ends[:, 0], noise)
        up = np.hypot(ends[:, 1] - centre, noise)
        ends = np.column_stack([centre - down, centre + up])
    return np.exp(ends), np.exp(centre)


def unit_of(y: str) -> str:
    """What predictions of y are in, for the names of keys."""
    return "nats" if y.endswith("_nats") else y


def finite(value: float) -> float | None:
    """A number for strict JSON: None where it is infinite or no number."""
    return float(value) if math.isfinite(value) else None


def formula(form: registry.Form, columns: Sequence[str], latex: bool = False) -> str:
    """The law's formula with the columns of this fit."""
    names = {f"x{place + 1}" if place else "x": name for place, name in enumerate(columns)}
    if latex:
        names = {key: _latex_name(name) for key, name in names.items()}
    return (form.latex if latex else form.formula).format(**names)


def _latex_name(column: str) -> str:
    if len(column) == 1:
        return column
    head, _, tail = column.partition("_")
    if len(head) == 1:
        return rf"{head}_{{\mathrm{{{tail}}}}}"
    return rf"\mathrm{{{column.replace('_', chr(92) + '_')}}}"


def latex(block: Mapping[str, Any]) -> str:
    """Formula and rounded values with intervals of a fit's JSON, in math mode."""
    form = registry.get(block["law"])
    columns = (block["x"],) if isinstance(block["x"], str) else tuple(block["x"])
    values = []
    for name, value in block["params"].items():
        shown = _latex_number(value)
        if name in block.get("fixed", {}):
            values.append(rf"{_symbol(name)} = {shown}\ \mathrm{{(fixed)}}")
            continue
        if name in block.get("not_determined", {}):
            shown = r"\text{not determined}"
        low, high = block["intervals"].get(name, [None, None])
        ends = ("-" if low is None else "") + _latex_number(low), _latex_number(high)
        values.append(f"{_symbol(name)} = {shown}\\;[{ends[0]},\\,{ends[1]}]")
    return f"${formula(form, columns, latex=True)}$, $" + r",\; ".join(values) + "$"


def _symbol(parameter: str) -> str:
    """A parameter in LaTeX: alpha_N, c0 and R_D have an index, Greek names are Greek."""
    found = re.fullmatch(r"([A-Za-z]+?)_?(\d+|[A-Z]|c)", parameter)
    head, index = found.groups() if found and len(parameter) > 1 else (parameter, "")
    head = rf"\{head}" if head in GREEK else head
    return f"{head}_{index}" if index else head


def _latex_number(value: float | None) -> str:
    if value is None:
        return r"\infty"
    text = f"{value:.4g}"
    if "e" in text:
        head, power = text.split("e")
        return rf"{head} \times 10^{{{int(power)}}}"
    return text


def summary(block: Mapping[str, Any]) -> str:
    """A fit's JSON as text for a terminal."""
    lines = [
        f"{block['formula']}    ({block['law']}; x: {block['convention']}; y: {block['y']})",
        f"{len(block['points'])} sizes, {block['dof']} degrees of freedom, residual "
        f"{block['sigma_log']:.3%}, R2 {block['r_squared']:.6f}",
        f"{block['level_text']} intervals: {block['interval_method']}; they hold if the form does",
    ]
    unknown = block.get("not_determined", {})
    for name, value in block["params"].items():
        if name in block["fixed"]:
            lines.append(f"  {name:6} {value:<12.6g} fixed")
            continue
        ends = _ends(block["intervals"][name])
        if name in unknown:
            lines.append(f"  {name:6} not determined: {unknown[name]} {ends}")
            continue
        error = block["standard_errors"][name]
        spread = "no error" if error is None else f"s.e. {error:.3g}"
        lines.append(f"  {name:6} {value:<12.6g} {spread:18} {ends}")
    for name, value in block["derived"].items():
        lines.append(f"  {name} {value:.6g} {_ends(block['derived_intervals'][name])}")
    lines.append(
        f"{block['objective_kind']}: objective {block['objective']:.6g}, gradient "
        f"{block['gradient_norm']:.1e}, {block['fraction_at_best']:.0%} of {block['starts']} "
        f"starts at the best of {1 + len(block['other_minima'])} minima"
    )
    held, unit = block["heldout"], unit_of(block["y"])
    predicted, observed = f"predicted_{unit}", f"observed_{unit}"
    if held:
        lines.append(
            f"held out {held['left_out']}: predicted {held[predicted]:.4f} "
            f"[{_short(held['low'])}, {_short(held['high'])}], observed "
            f"{held[observed]:.4f} ({held['error_relative']:+.2%})"
        )
    for row in block["extrapolation"]:
        lines.append(
            f"{row['factor']:g} times the largest x, {row['x']:.4g}: {row[predicted]:.4f} "
            f"[{_short(row['low'])}, {_short(row['high'])}] for one run, if the form holds"
        )
    for row in block["alternatives"]:
        if row["aicc"] is not None and block["aicc"] is not None:
            lines.append(f"{row['law']}: AICc {row['aicc'] - block['aicc']:+.1f} against this law")
    for check in block["checklist"]:
        lines.append(f"  {'ok  ' if check['ok'] else 'LOOK'} {check['check']}: {check['message']}")
    lines += [f"warning: {text}" for text in block["warnings"]]
    return "\n".join(lines)


def _ends(pair: Sequence[float | None]) -> str:
    return f"[{_short(pair[0])}, {_short(pair[1])}]"


def _short(value: float | None) -> str:
    return "none" if value is None else f"{value:.5g}"


def to_frame(fit: Mapping[str, Any]) -> "DataFrame":
    """The parameters of a fit's JSON as a table: parameter, value, standard_error, low, high."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "parameter": name,
                "value": value,
                "standard_error": fit["standard_errors"].get(name),
                "low": fit["intervals"].get(name, [None, None])[0],
                "high": fit["intervals"].get(name, [None, None])[1],
            }
            for name, value in fit["params"].items()
        ]
    )
