"""Tables of a study as CSV and LaTeX, and its numbers as LaTeX macros."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scalelab.figures import numbers
from scalelab.figures.study import Study, predicted
from scalelab.files import write_text
from scalelab.report import answers, cost, latex, summary
from scalelab.report.summary import Size

FACTOR_WORDS = {2: "Twofold", 10: "Tenfold", 100: "Hundredfold"}
RUN_COLUMNS = (
    *(
        "label",
        "N",
        "N_active",
        "N_total",
        "D",
        "C",
        "seeds",
        "failed",
        "loss_nats",
        "loss_nats_se",
    ),
    *("seed_sd_nats", "perplexity", "bits_per_byte", "predicted", "residual_percent", "seconds"),
)
LAW_COLUMNS = (
    *("law", "x", "convention", "y", "parameter", "value", "standard_error", "low", "high"),
    *("interval_level", "interval_method"),
)

COST_CAPTION = (
    "What a run of each size costs: means over its good runs, and the highest memory. Throughput\n"
    "compares between rows of equal threads and precision only."
)


def write_tables(study: Study, out_dir: str | Path) -> list[Path]:
    """Write {runs,law,cost,answers}.{csv,tex} and numbers.tex; give back their paths."""
    out, rows = Path(out_dir), summary.sizes(study)
    texts = {
        "runs.csv": _csv(RUN_COLUMNS, [_size_row(size) for size in rows]),
        "runs.tex": runs_tex(study, rows),
        "law.csv": _csv(LAW_COLUMNS, [row for fit in study.fits for row in law_rows(fit)]),
        "law.tex": law_tex(study),
        "cost.csv": _csv(cost.COLUMNS, [cost.cost_row(size) for size in rows]),
        "cost.tex": cost.cost_tex(caption(study, COST_CAPTION), rows),
        "answers.csv": _csv(answers.COLUMNS, answers.csv_rows(study)),
        "answers.tex": answers.tex(caption(study, "What the design of the study asked."), study),
        "numbers.tex": numbers_tex(study, rows),
    }
    for name, text in texts.items():
        write_text(out / name, text)
    return [out / name for name in texts]


def _csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *rows])
    return text.getvalue()


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _size_row(size: Size) -> tuple[Any, ...]:
    whole = (size.n, size.n_active, size.n_total, size.tokens, size.flops)
    counts = (None if value is None else int(value) for value in whole)
    return (
        *(size.label, *counts, size.seeds, size.failed, size.loss, size.loss_se, size.seed_sd),
        *(size.perplexity, size.bits_per_byte, size.predicted, _percent(size.residual)),
        size.seconds,
    )


def caption(study: Study, what: str) -> str:
    """What a table shows, from which data, by which law and method, with which interval."""
    source = study.laws.get("provenance") or {}
    good = sum(run.ok for run in study.runs)
    text = (
        f"{what}\nData: study {study.name}, {good} of {len(study.runs)} runs gave a held-out loss; "
        f"data {source.get('data_hash') or 'hash unknown'}, "
        f"scalelab {source.get('scalelab', '?')} {source.get('commit') or ''}".rstrip()
        + "."
    )
    for fit in study.fits:
        text += (
            f"\nLaw: {fit.get('formula') or fit['law']} in {summary.convention(fit)} "
            f"({len(fit['points'])} sizes), by {fit.get('objective_kind', '?')}; "
            f"{summary.level(fit)} intervals: {fit.get('interval_method', '?')}."
        )
    return text


def runs_tex(study: Study, rows: Sequence[Size]) -> str:
    """One line a size: counts, held-out loss with its standard error, residual, seconds."""
    header = (
        *("$N$", r"$N_\mathrm{total}$", "$D$", "$C$ (FLOPs)", "Seeds", "Loss (nats/token)"),
        *("Perplexity", "Bits/byte", r"Residual (\%)", "Time (s)"),
    )
    body = []
    for size in rows:
        counts = [latex.power(v) for v in (size.n, size.n_total, size.tokens, size.flops)]
        failed = f" ({size.failed} failed)" if size.failed else ""
        body.append(
            [
                *counts,
                f"{size.seeds}{failed}",
                _loss_cell(size),
                latex.math(size.perplexity, 2),
                latex.math(size.bits_per_byte, 3),
                latex.math(_percent(size.residual), 2),
                latex.math(size.seconds, 1),
            ]
        )
    what = (
        "Held-out loss of each size: mean over seeds, plus or minus the sampling standard error\n"
        "of the held-out set; residual is observed over predicted loss minus one."
    )
    return latex.booktabs(caption(study, what), "rrrrlrrrrr", header, body)


def _loss_cell(size: Size) -> str:
    if size.loss is None:
        return "--"
    error = "" if size.loss_se is None else rf" \pm {size.loss_se:.4f}"
    return f"${size.loss:.4f}{error}$"


def law_rows(fit: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """One row a parameter of a fit, at full precision."""
    x = fit["x"] if isinstance(fit["x"], str) else " ".join(fit["x"])
    head = (fit["law"], x, summary.convention(fit), fit.get("y", "loss_nats"))
    tail = (fit.get("interval_level"), fit.get("interval_method"))
    errors = fit.get("standard_errors") or {}
    return [
        (*head, name, value, errors.get(name), *numbers.bounds(fit, name), *tail)
        for name, value in fit["params"].items()
    ]


def law_tex(study: Study) -> str:
    """Parameters, standard errors and intervals of every fit."""
    levels = dict.fromkeys(summary.level(fit) for fit in study.fits)
    interval = f"{latex.escape(' / '.join(levels))} interval".strip()
    body = []
    for fit in study.fits:
        errors = fit.get("standard_errors") or {}
        for place, (name, value) in enumerate(fit["params"].items()):
            low, high = numbers.bounds(fit, name)
            text, *ends = numbers.estimate(float(value), low, high)
            error = errors.get(name)
            # The law is named once; its other parameters follow under it.
            first = [f"${tex_formula(fit)}$", latex.escape(summary.convention(fit))]
            body.append(
                [
                    *(first if place == 0 else ["", ""]),
                    f"${numbers.symbol(name)}$",
                    "not determined" if name in (fit.get("not_determined") or {}) else f"${text}$",
                    "--" if error is None else f"${numbers.significant(error)}$",
                    f"$[{ends[0]}, {ends[1]}]$",
                ]
            )
    header = ("Law", "Counting", "Parameter", "Estimate", "Std. error", interval)
    what = "Parameters of the fitted laws with standard errors and intervals."
    return latex.booktabs(caption(study, what), "lllrrr", header, body)


def tex_formula(fit: Mapping[str, Any]) -> str:
    """The formula of a fit in TeX mathematics: the law's own, or its plain text translated."""
    own = fit.get("latex")
    return own.strip("$") if isinstance(own, str) else numbers.formula(fit)


def numbers_tex(study: Study, rows: Sequence[Size]) -> str:
    r"""Macros such as \scalelabAlpha, so that a text never copies a number by hand."""
    lines = [latex.comment(caption(study, "Numbers of the study, for use in a text."))]
    lines += [
        rf"\newcommand{{\scalelab{name}}}{{{value}}}" for name, value in macros(study, rows).items()
    ]
    return "\n".join(lines) + "\n"


def macros(study: Study, rows: Sequence[Size]) -> dict[str, str]:
    """Name (letters only) and LaTeX value of each number; those of the primary fit when there
    are several. Values that do not exist (no fit, no interval) have no macro."""
    good = [size for size in rows if size.loss is not None]
    found = {
        "Study": latex.escape(study.name),
        "Runs": str(len(study.runs)),
        "RunsOk": str(sum(run.ok for run in study.runs)),
        "Sizes": str(len(good)),
    }
    for name, size in (("Smallest", good[0]), ("Largest", good[-1])) if good else ():
        found[f"N{name}"] = latex.anywhere(latex.power(size.n))
        found[f"Loss{name}"] = f"{size.loss:.3f}"
    found |= cost.cost_macros(study) | answers.macros(study)
    fit = next(iter(study.fits), None)
    return {**found, **(_fit_macros(fit) if fit else {})}


def _fit_macros(fit: Mapping[str, Any]) -> dict[str, str]:
    found = {
        "Law": latex.anywhere(tex_formula(fit)),
        "Convention": latex.escape(summary.convention(fit)),
        "Level": latex.escape(summary.level(fit)),
    }
    errors = fit.get("standard_errors") or {}
    for name, value in fit["params"].items():
        macro = "".join(part[:1].upper() + part[1:] for part in name.split("_"))
        low, high = numbers.bounds(fit, name)
        found |= _triple(macro, float(value), low, high)
        if errors.get(name) is not None:
            found[f"{macro}Error"] = numbers.significant(errors[name])
    for item in fit.get("extrapolation") or ():
        word = FACTOR_WORDS.get(item.get("factor"))
        if word:
            found[f"{word}N"] = latex.anywhere(latex.power(float(item["x"])))
            found |= _triple(f"{word}Loss", predicted(item), item.get("low"), item.get("high"))
    residuals = [abs(item["residual_relative"]) for item in fit["points"]]
    found["LargestResidual"] = rf"{100 * max(residuals):.2f}\%"
    found["SizesAboveOnePercent"] = str(sum(value > summary.GOAL for value in residuals))
    return found


def _triple(name: str, value: float, low: float | None, high: float | None) -> dict[str, str]:
    texts = numbers.estimate(value, low, high)
    ends = zip(("Low", "High"), texts[1:], (low, high), strict=True)
    return {name: texts[0], **{name + end: text for end, text, known in ends if known is not None}}
