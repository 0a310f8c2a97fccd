"""What the page's scripts read, and what the template shows beside them."""

from collections.abc import Mapping
from typing import Any

from scalelab.figures.study import Study
from scalelab.report import embed, explore, large, material, planner
from scalelab.report.again import Fits


def live(study: Study, again: Fits, plan: Mapping[str, Any] | None) -> dict[str, Any]:
    """Names of the template: the data, the scripts, the library, and the planner's own words."""
    shown = large.thinned(study)
    views, costs, curves = (
        explore.views(study, shown),
        material.costs(study),
        material.curves(shown),
    )
    budgets = planner.planner(study, again)
    data = {
        "views": views,
        "runs": material.runs(shown),
        "curves": curves,
        "costs": costs,
        "planner": budgets,
    }
    return {
        "data": embed.as_json(data),
        "library": embed.library(),
        "script": embed.script(),
        "style": embed.style(),
        "has_views": bool(views),
        "has_costs": bool(costs),
        "has_curves": bool(curves),
        "curve_points": material.CURVE_POINTS,
        "curves_shown": len(curves) if len(study.runs) > material.MOST_CURVES else None,
        "plan_rows": planner.table(budgets),
        "plan_about": budgets["about"] if budgets else [],
        "plan_unit": budgets["unit"] if budgets else "",
        "plan_speed": budgets["speed"] if budgets else None,
        "plan_notes": list((plan or {}).get("notes") or ()),
    }


def contents(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Anchors and titles of the sections that the page has."""
    listed = [("explore", "The law and its points")] if values["has_views"] else []
    listed += [
        (f"asked-{place}", item["text"].title) for place, item in enumerate(values["asked"], 1)
    ]
    listed += [("planner", "What a budget buys")] if values["plan_rows"] else []
    listed += [("sizes", "Each size"), ("checks", "Checks")]
    listed += [("texts", "Evaluation sets")] if values["texts"] else []
    listed += [("samples", "Samples")] if values["samples"] else []
    listed += [("cost", "Cost")]
    listed += [("curves", "Training curves")] if values["has_curves"] or values["figures"] else []
    listed += [("all-runs", "Runs")]
    listed += [("corpus", "Corpus")] if values["corpus"] else []
    return [*listed, ("methods", "Methods")]
