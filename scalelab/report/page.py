"""report.html: one file, nothing fetched, everything from data escaped.

Still figures stand in it for print and for browsers without scripts; the scripts of `web/` draw the
interactive plots from data in the page.
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalelab import figures
from scalelab.errors import UserError
from scalelab.figures import numbers
from scalelab.figures.law_panel import excluded
from scalelab.figures.study import Study, even
from scalelab.files import write_text
from scalelab.plan.objectives import CAUSAL
from scalelab.report import answers, cost, large, material, sets, summary, texts, weight
from scalelab.report.again import Fits, fits_again
from scalelab.report.corpus import shown
from scalelab.report.live import contents, live

MAIN = "scaling_law"
COMPARISON = "scaling_law_conventions"
COST = "cost"
LAWS = ("overtraining", "repeats", "tokens")
"""Kinds that show a law of several columns."""
CURVES = ("loss_vs_tokens", "loss_vs_flops")
"""Figures that the interactive plot of the training curves stands for."""
TEMPLATE = "template.html"
LARGE_SVG = 250_000
"""Bytes: curves of many runs are lighter as pixels, and the page stays below 5 MB."""
Picture = dict[str, Any]


def write_report(
    study: Study,
    figures_dir: str | Path,
    out: str | Path,
    corpus: Mapping[str, Any] | None = None,
    plan: Mapping[str, Any] | None = None,
    samples: Mapping[str, Any] | None = None,
    tracking: Mapping[str, Any] | None = None,
) -> Path:
    """Write the page of a study and give back its path.

    Args:
        study: runs and laws.
        figures_dir: folder with the figures as SVG; `scaling_law.svg` among them where a law of
            one column was fitted.
        out: path of the page.
        corpus: manifest of the corpus, for its card; with its report card under `card`.
        plan: plan of the study; its runs that have no row yet are named.
        samples: what `scalelab samples` wrote.
        tracking: what `scalelab track` wrote: ids of the runs in W&B.

    Raises:
        UserError: the main figure is missing.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": numbers.count,
        "fixed": _fixed,
        "sci": _scientific,
        "plain": lambda value: "" if value is None else numbers.significant(value, 3),
        "megabytes": lambda value: "" if value is None else f"{value / 1e6:,.1f}",
    }
    again = fits_again(study)
    values = context(study, figures_dir, corpus, plan, again) | live(study, again, plan)
    values |= {
        "samples": texts.shown(samples),
        "links": material.links(large.thinned(study), Path(out), tracking),
    }
    template = environment.get_template(TEMPLATE)
    page = template.render(values, contents=contents(values))
    excess = len(page.encode()) - weight.MOST_BYTES
    if excess > 0:
        weight.lighten(values["pictures"], Path(figures_dir), excess)
        page = template.render(values, contents=contents(values))
    write_text(out, page)
    return Path(out)


def context(
    study: Study,
    figures_dir: str | Path,
    corpus: Mapping[str, Any] | None,
    plan: Mapping[str, Any] | None,
    again: Fits = (),
) -> dict[str, Any]:
    """What the template shows, less what its scripts draw."""
    rows, told = summary.sizes(study), summary.answer(study, next(iter(again), None))
    fit = next(iter(study.fits), None)
    pictures = embedded(Path(figures_dir), study)
    first = leading(study, pictures)
    asked: list[dict[str, Any]] = [
        {"text": item, "figures": [p for p in pictures if p["name"] in item.kinds and p != first]}
        for item in map(large.section, answers.sections(study))
    ]
    # A figure shows all answers of its kind, so it stands with the last of them.
    for place, item in enumerate(asked):
        later = [p for other in asked[place + 1 :] for p in other["figures"]]
        item["figures"] = [p for p in item["figures"] if p not in later]
    not_ok = [run for run in study.runs if not run.ok]
    aside = [(run, why) for run, _, why in excluded(study, fit) if run.ok] if fit else []
    placed = [first, *(p for item in asked for p in item["figures"])]
    return {
        "name": study.name,
        "answer": told,
        "answer_asked": answers.lead(study) if told != answers.lead(study) else [],
        "residual_statement": summary.residual_statement(rows),
        "sizes": even(rows, large.MOST_ROWS),
        "sizes_note": large.rows_note(len(rows), "tables/runs.csv and tables/cost.csv"),
        "several_tokens": summary.several_tokens(rows),
        "goal": summary.GOAL,
        "fit": fit,
        "fits": [_fit_row(item) for item in study.fits],
        "texts": sets.texts(study),
        "heldout": _heldout(fit),
        "failed_fits": [i for i in study.laws.get("failed") or [] if "law" in i],
        "failed_answers": [i for i in study.laws.get("failed") or [] if "answer" in i],
        "pictures": pictures,
        "lead": first,
        "lead_is_law": bool(first and first["name"] == MAIN),
        "asked": asked,
        "figures": [item for item in pictures if item["name"] != COST and item not in placed],
        "cost_figure": next((item for item in pictures if item["name"] == COST), None),
        "count": len(study.runs),
        "runs": large.thinned(study).runs,
        "runs_note": large.note(study),
        "statuses": cost.statuses(study),
        "not_ok": not_ok[: large.MOST_ROWS],
        "not_ok_count": len(not_ok),
        "excluded": large.left_out(aside),
        "missing": large.first(_missing(study, plan), "plan.json"),
        "corpus": shown(corpus) if corpus else None,
        "methods": methods(study, corpus),
        "provenance": _provenance(study, corpus),
        "cost": cost.totals(study),
        "growth": cost.growth_sentences(study),
    }


def _fixed(value: float | None, places: int) -> str:
    return "" if value is None else f"{value:,.{places}f}".replace("-", "\N{MINUS SIGN}")


def _scientific(value: float | None) -> str:
    from markupsafe import Markup

    parts = numbers.scientific(value)
    return "" if parts is None else Markup("{} × 10<sup>{}</sup>").format(*parts)


def leading(study: Study, pictures: list[Picture]) -> Picture | None:
    """The figure at the head of the page: of the law in one column, else of the first answer, else
    of a law in several; None where there is no such figure."""
    names = [MAIN] if study.one_dimensional else []
    names += [name for item in answers.sections(study) for name in item.kinds]
    names += [*LAWS, MAIN]
    known = {item["name"]: item for item in pictures}
    return next((known[name] for name in names if name in known), None)


def embedded(folder: Path, study: Study) -> list[Picture]:
    """The figures as data URIs, by title. SVG in an image runs no script.

    Without several fits the comparison of fits would repeat the main figure and is left out. Raises
    UserError where a study with a law in one column lacks the main figure.
    """
    found = []
    for kind in sorted(figures.kinds().values(), key=lambda kind: kind.title):
        path = folder / f"{kind.name}.svg"
        several = len(study.one_dimensional) > 1
        if path.exists() and (several or kind.name != COMPARISON):
            found.append(
                {
                    "name": kind.name,
                    "title": kind.title,
                    "wide": kind.width,
                    "curve": kind.name in CURVES,
                    "uri": _uri(path),
                }
            )
    if study.one_dimensional and MAIN not in [item["name"] for item in found]:
        raise UserError(f"{folder / MAIN}.svg: no such file, expected the main figure as SVG")
    return found


def _uri(path: Path) -> str:
    """The SVG, or the PNG beside it where the SVG is large and that is smaller."""
    drawn, image = path.read_bytes(), path.with_suffix(".png")
    if len(drawn) > LARGE_SVG and image.exists() and image.stat().st_size < len(drawn):
        return f"data:image/png;base64,{base64.b64encode(image.read_bytes()).decode()}"
    return f"data:image/svg+xml;base64,{base64.b64encode(drawn).decode()}"


def _fit_row(fit: Mapping[str, Any]) -> dict[str, Any]:
    errors = fit.get("standard_errors") or {}
    params = []
    for name, value in fit["params"].items():
        low, high = numbers.bounds(fit, name)
        text, *ends = numbers.estimate(float(value), low, high)
        spread = errors.get(name)
        large = spread is not None and 1e6 <= spread < float("inf")
        shown = f"{spread:.3g}" if large else numbers.significant(spread)
        told = "not determined" if name in (fit.get("not_determined") or {}) else text
        params.append(
            {"name": name, "value": told, "error": shown, "low": ends[0], "high": ends[1]}
        )
    return {
        "formula": fit.get("formula") or fit["law"],
        "convention": summary.convention(fit),
        "level": summary.level(fit),
        "params": params,
        "checklist": fit.get("checklist") or [],
        "warnings": fit.get("warnings") or [],
        "alternatives": fit.get("alternatives") or [],
        "aicc": fit.get("aicc"),
        "law": fit["law"],
        "fitted_to": told_points(fit),
    }


def told_points(fit: Mapping[str, Any]) -> str:
    """`8 sizes`, or `30 points of 5 sizes` where a size has several D."""
    points = fit["points"]
    if isinstance(fit["x"], str):
        return f"{len(points)} sizes" if fit["x"].startswith("N") else f"{len(points)} points"
    return f"{len(points)} points of {len({point[fit['x'][0]] for point in points})} sizes"


def _heldout(fit: Mapping[str, Any] | None) -> str | None:
    block = (fit or {}).get("heldout")
    if not fit or not block:
        return None
    values = {key.partition("_")[0]: value for key, value in block.items() if value is not None}
    left_out = " and ".join(numbers.short(float(value)) for value in block["left_out"])
    ends = [block.get("low"), block.get("high")]
    text, low, high = numbers.estimate(values["predicted"], *ends)
    inside = all(end is not None for end in ends) and ends[0] <= values["observed"] <= ends[1]
    return (
        f"Fitted without the largest size ({left_out}), the law predicts {text} there "
        f"({summary.level(fit)} interval {low} to {high}); {values['observed']:.4f} was observed, "
        f"{'inside' if inside else 'outside'} the interval, an error of "
        f"{100 * block['error_relative']:+.2f}%."
    )


def _missing(study: Study, plan: Mapping[str, Any] | None) -> list[str]:
    known = {run.id for run in study.runs}
    return [
        str(item.get("label") or item["id"])
        for item in (plan or {}).get("runs", ())
        if item["id"] not in known
    ]


def methods(study: Study, corpus: Mapping[str, Any] | None) -> str:
    """A sentence or three of methods, from what the artifacts say."""
    test = ((corpus or {}).get("splits") or {}).get("test") or {}
    where = f" of {numbers.count(test['tokens'])} tokens" if test.get("tokens") else ""
    text = (
        "Held-out loss is the mean over all predicted tokens of the test split"
        f"{where}, in nats; perplexity is exp(loss), and bits per byte is the comparison that "
        "holds across tokenizers. "
    )
    if study.objective is not CAUSAL:
        text = (
            f"The {study.objective.title} is {study.objective.meaning}. It is of the test "
            f"split{where}, in nats a scored token, and compares with losses of its kind alone. "
        )
    fit = next(iter(study.fits), None)
    if fit:
        share = fit.get("fraction_at_best")
        starts = f" from {fit['starts']} starting points" if fit.get("starts") else ""
        reached = f" ({100 * share:.0f}% of them reached the best value)" if share else ""
        text += (
            f"The law {fit.get('formula') or fit['law']} was fitted to {told_points(fit)} "
            f"by {fit.get('objective_kind', 'its objective')}{starts}{reached}. "
            f"{summary.level(fit)} intervals: {fit.get('interval_method', 'unknown')}. "
            "C is the exact count of training FLOPs, attention and logits included."
        )
    return text


def _provenance(study: Study, corpus: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    source = study.laws.get("provenance") or {}
    versions = source.get("versions") or {}
    rows = [
        ("scalelab", source.get("scalelab")),
        ("commit", source.get("commit")),
        ("digest of the fitting code", source.get("code")),
        ("settings of the fit", source.get("config_hash")),
        ("table of runs", source.get("data_hash")),
        ("corpus", (corpus or {}).get("data_hash")),
        ("machine", source.get("machine")),
        ("libraries", ", ".join(f"{name} {version}" for name, version in versions.items())),
    ]
    return [(name, str(value)) for name, value in rows if value]
