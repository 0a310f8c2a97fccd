"""What a study found, as rows and plain sentences. Shared by the page and the tables."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from scalelab.evaluation.columns import set_of
from scalelab.figures import numbers
from scalelab.figures.study import Run, Study, predicted, value_at
from scalelab.laws.result import FitResult
from scalelab.report import answers
from scalelab.report.again import fall

GOAL = 0.01
"""A size whose loss lies further than this share from the law is named in the report."""
NAMED = 6
"""Of these, how many."""

SETTINGS = (
    *("family", "depth", "width", "heads", "context", "vocab", "N", "D"),
    *("lr", "batch_tokens", "schedule", "precision", "threads", "corpus"),
)
"""Columns that rows of one size share; what is left to differ is the seed."""


@dataclass(frozen=True)
class Size:
    """All runs of one size: counts, means over the good runs, and how far the law is off."""

    label: str
    n: float
    n_active: float | None
    n_total: float | None
    tokens: float | None
    flops: float | None
    seeds: int
    failed: int
    loss: float | None
    """Mean held-out loss in nats per token; None when no run of this size ended well."""
    loss_se: float | None
    """Sampling standard error of the held-out loss. All seeds share one held-out set, so it does
    not shrink with the number of seeds and their mean is given."""
    seed_sd: float | None
    """Standard deviation between seeds, nats per token."""
    perplexity: float | None
    """exp(loss)."""
    bits_per_byte: float | None
    predicted: float | None
    """The primary law's value, in the unit of its y."""
    residual: float | None
    """Observed over predicted minus one, as the fit reports it."""
    seconds: float | None
    tokens_per_second: float | None
    flops_per_second: float | None
    mfu: float | None
    """Model FLOPs utilisation as a share."""
    memory: float | None
    """Highest of the good runs, bytes."""
    checkpoint: float | None
    """Bytes."""
    threads: float | None
    precision: str


def sizes(study: Study) -> list[Size]:
    """One row for each size and setting, by N: the runs of a row differ in their seed alone."""
    fit = next(iter(study.fits), None)
    points = {run.id: item for item in (fit or {}).get("points", ()) for run in study.runs_of(item)}
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in study.runs:
        key = tuple(run.columns.get(name, "") for name in SETTINGS)
        groups.setdefault(key, []).append(run)
    rows = [_size(runs, points) for runs in groups.values()]
    return sorted(rows, key=lambda size: (size.n, size.tokens or 0.0))


def _size(runs: Sequence[Run], points: Mapping[str, Mapping[str, Any]]) -> Size:
    good = [run for run in runs if run.ok]
    losses = [run.number("loss_nats") or 0.0 for run in good]
    loss = fmean(losses) if losses else None
    point = next((points[run.id] for run in good if run.id in points), None)
    spread = None
    if len(losses) > 1 and loss is not None:
        spread = math.sqrt(sum((value - loss) ** 2 for value in losses) / (len(losses) - 1))
    return Size(
        label=runs[0].label if len(runs) == 1 else f"{runs[0].label} and {len(runs) - 1} more",
        n=runs[0].size,
        n_active=runs[0].number("N_active"),
        n_total=runs[0].number("N_total"),
        tokens=runs[0].number("D"),
        flops=runs[0].number("C"),
        seeds=len(good),
        failed=len(runs) - len(good),
        loss=loss,
        loss_se=mean(good, "loss_nats_se"),
        seed_sd=spread,
        perplexity=math.exp(loss) if loss is not None and loss < 700 else None,
        bits_per_byte=mean(good, "bits_per_byte"),
        predicted=predicted(point) if point else None,
        residual=float(point["residual_relative"]) if point else None,
        seconds=mean(good, "seconds"),
        tokens_per_second=mean(good, "tokens_per_second"),
        flops_per_second=mean(good, "flops_per_second"),
        mfu=mean(good, "mfu"),
        memory=max((run.number("peak_memory_bytes") or 0 for run in good), default=0) or None,
        checkpoint=mean(good, "checkpoint_bytes"),
        threads=runs[0].number("threads"),
        precision=runs[0].columns.get("precision", ""),
    )


def mean(runs: Sequence[Run], column: str) -> float | None:
    """Mean of a column over the runs that have it."""
    values = [value for run in runs if (value := run.number(column)) is not None]
    return fmean(values) if values else None


def law_at(fit: Mapping[str, Any], x: float) -> float | None:
    """The law at x, between two points of its stored band (straight in log-log).

    With some sixty points over three decades this is exact to about 1e-4 of the loss.
    """
    rows = sorted((float(item["x"]), predicted(item)) for item in fit.get("band") or ())
    for (left, below), (right, above) in itertools.pairwise(rows):
        if left <= x * (1 + 1e-9) and x <= right * (1 + 1e-9):
            share = math.log(x / left) / math.log(right / left)
            return math.exp((1 - share) * math.log(below) + share * math.log(above))
    return None


def answer(study: Study, again: FitResult | None = None) -> list[str]:
    """The result in a few plain sentences; what the data do not determine is said so.

    Where a law was fitted, what the design asked is not among them (`answers.lead`).

    again: the first fit made again, for intervals that laws.json does not hold.
    """
    good = [size for size in sizes(study) if size.loss is not None]
    if not good:
        return ["No run of this study gave a held-out loss."]
    fit = next(iter(study.fits), None)
    asked = answers.lead(study)
    if fit is None:
        return asked or [f"{len(good)} sizes were measured. No law was fitted."]
    sentences = []
    steps = tenfolds(fit)
    unit = unit_of(fit)
    what, title = convention(fit), study.objective.title
    if steps:
        falls = ", then ".join(
            f"from {before:.3f} to {after:.3f}{_by(again, x)}" for x, before, after in steps
        )
        start = numbers.short(steps[0][0])
        sentences.append(
            f"On the fitted law, each tenfold of {what} lowers the {title}: "
            f"starting at {start}, {falls}{', in' if falls.endswith(')') else ''} {unit}."
        )
    else:
        first, last = good[0], good[-1]
        sentences.append(
            f"The {title} goes from {first.loss:.3f} nats per token at {numbers.short(first.n)} "
            f"to {last.loss:.3f} at {numbers.short(last.n)} non-embedding parameters."
        )
    sentences += [exponent(fit), floor(fit), extrapolation(fit)]
    return [sentence for sentence in sentences if sentence]


def _by(again: FitResult | None, x: float) -> str:
    """`, by 0.412 (95% interval 0.39 to 0.43)`; empty where no interval is had."""
    found = fall(again, x)
    if again is None or found is None:
        return ""
    value, low, high = numbers.estimate(*found)
    return f", by {value} ({numbers.percent(again.level)} interval {low} to {high})"


def tenfolds(fit: Mapping[str, Any]) -> list[tuple[float, float, float]]:
    """Steps (x, law at x, law at 10 x) within the data, counted down from the largest x."""
    if not isinstance(fit["x"], str):
        return []
    xs = sorted(value_at(fit, item) for item in fit["points"])
    steps, top = [], xs[-1]
    while top / 10 >= xs[0] * 0.98:
        low = max(top / 10, xs[0])
        before, after = law_at(fit, low), law_at(fit, top)
        if before is None or after is None:
            break
        steps.append((low, before, after))
        top /= 10
    return steps[::-1]


def unit_of(fit: Mapping[str, Any]) -> str:
    """The unit of a fit's loss in words."""
    return numbers.loss_unit(str(fit.get("y", "loss_nats")))


def convention(fit: Mapping[str, Any]) -> str:
    """What a fit's x counts, in words, and which evaluation set its losses are of."""
    name = set_of(str(fit.get("y", "loss_nats")))
    return str(fit.get("convention") or fit["x"]) + (f"; losses on the set {name}" if name else "")


def level(fit: Mapping[str, Any]) -> str:
    """The level of a fit's intervals, such as 95%."""
    return numbers.percent(fit.get("interval_level", 0.95))


def interval_text(fit: Mapping[str, Any], name: str) -> str:
    """A parameter with its interval in words."""
    low, high = numbers.bounds(fit, name)
    value, *ends = numbers.estimate(float(fit["params"][name]), low, high)
    if low is None and high is None:
        return f"{value} (its interval is unknown)"
    return f"{value} ({level(fit)} interval {ends[0]} to {ends[1]})"


def exponent(fit: Mapping[str, Any]) -> str:
    """A sentence on the exponents."""
    names = [name for name in ("alpha", "beta") if name in fit["params"]]
    texts = [f"{name} = {interval_text(fit, name)}" for name in names]
    if not texts:
        return ""
    return f"The exponent{'s are' if len(texts) > 1 else ' is'} {' and '.join(texts)}."


def floor(fit: Mapping[str, Any]) -> str:
    """A sentence on the irreducible loss E, or that the data do not determine it."""
    if "E" not in fit["params"]:
        return ""
    value, (low, high) = float(fit["params"]["E"]), numbers.bounds(fit, "E")
    if value <= 0 or low is None or low <= 0:
        top = "" if high is None else f"; it lies below {numbers.estimate(value, low, high)[2]}"
        return f"The floor E is not determined by these runs (its interval contains 0{top})."
    return f"The loss that no size removes is E = {interval_text(fit, 'E')} {unit_of(fit)}."


def extrapolation(fit: Mapping[str, Any]) -> str:
    """A sentence on the largest extrapolation that the fit offers."""
    steps = sorted(fit.get("extrapolation") or (), key=lambda item: item.get("factor", 0))
    if not steps:
        return ""
    last = steps[-1]
    if not isinstance(fit["x"], str):
        return _extrapolation_along(fit, last)
    low, high = last.get("low"), last.get("high")
    value, *ends = numbers.estimate(predicted(last), low, high)
    bounds = "no bounded interval" if low is None and high is None else f"{ends[0]} to {ends[1]}"
    return (
        f"A model {last.get('factor', '?')} times the largest ({numbers.short(last['x'])}) is "
        f"predicted to reach {value} {unit_of(fit)} ({level(fit)} interval {bounds}), "
        "if the law holds that far."
    )


def _extrapolation_along(fit: Mapping[str, Any], last: Mapping[str, Any]) -> str:
    """The same for a law of several columns, all of which grow by the factor."""
    low, high = last.get("low"), last.get("high")
    value, *ends = numbers.estimate(predicted(last), low, high)
    where = ", ".join(f"{c} = {numbers.short(last[c])}" for c in fit["x"])
    bounds = "no bounded interval" if low is None and high is None else f"{ends[0]} to {ends[1]}"
    return (
        f"At {last.get('factor', '?')} times the largest run ({where}) the law predicts {value} "
        f"{unit_of(fit)} ({level(fit)} interval {bounds}), if it holds that far."
    )


def residual_statement(rows: Sequence[Size]) -> str:
    """Which sizes lie further than 1% from the law, in plain words, the farthest first."""
    known = [size for size in rows if size.residual is not None]
    if not known:
        return "No size has a residual, since no law was fitted."
    several = several_tokens(rows)

    def told(size: Size) -> str:
        tokens = f", D = {numbers.short(size.tokens)}" if several and size.tokens else ""
        return f"N = {numbers.count(size.n)}{tokens}"

    known.sort(key=lambda size: -abs(size.residual or 0))
    above = [size for size in known if abs(size.residual or 0) > GOAL]
    what = "run" if several else "size"
    if not above:
        largest = f"{100 * abs(known[0].residual or 0):.2f}% at {told(known[0])}"
        return f"Every {what} lies within 1% of the law; the largest residual is {largest}."
    named = ", ".join(
        f"{told(size)} ({100 * (size.residual or 0):+.2f}%)" for size in above[:NAMED]
    )
    more = f" and {len(above) - NAMED} more" if len(above) > NAMED else ""
    verb = f"{what} lies" if len(above) == 1 else f"{what}s lie"
    return f"{len(above)} of {len(known)} {verb} more than 1% from the law: {named}{more}."


def several_tokens(rows: Sequence[Size]) -> bool:
    """Whether some size has rows of several D, so that N alone does not name a row."""
    return len({size.n for size in rows}) < len({(size.n, size.tokens) for size in rows})
