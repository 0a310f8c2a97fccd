"""The verb `plan`: the runs of a study and what they cost, on paper or as JSON."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scalelab import config
from scalelab.files import write_json
from scalelab.logs import json_argument
from scalelab.plan.runs import Plan, build
from scalelab.provenance import manifest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab plan`."""
    parser.add_argument("study", type=Path, metavar="STUDY.yaml")
    parser.add_argument("--set", metavar="JSON", help="keys that replace those of the file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the plan there")


def run(args: argparse.Namespace) -> int:
    """Print the plan, or write it."""
    overrides = json_argument(args.set) if args.set else None
    plan = build(config.load(args.study, overrides))
    if args.json:
        write_json(args.json, as_json(plan))
    else:
        print(as_text(plan))
    return 0


def as_json(plan: Plan) -> dict[str, Any]:
    """plan.json: what was decided about the runs, and nothing about how results are shown."""
    return {
        "study": plan.study.study,
        "description": plan.study.description,
        "seed": plan.study.seed,
        "corpus_id": plan.corpus_id,
        "corpora": plan.corpora,
        "evaluation_id": plan.evaluation_id,
        "evaluation": plan.evaluation,
        **({"sets": plan.sets} if plan.sets else {}),
        **({"measures": plan.measures} if plan.measures else {}),
        "runs": [
            {
                "id": run.id,
                "label": run.label,
                "spec": run.spec,
                "N": run.counts.n,
                "N_active": run.counts.n_active,
                "N_total": run.counts.n_total,
                "D": run.tokens,
                "C": run.flops,
                "budget": run.budget,
                "setting": run.setting,
                **({} if run.init is None else {"init": run.init}),
            }
            for run in plan.runs
        ],
        "trunks": [
            {"id": one.id, "branches": one.branches, "saved_steps": one.saved_steps}
            for one in plan.trunks
        ],
        "design": plan.study.design,
        "notes": list(plan.notes),
        "provenance": manifest(asdict(plan.study)),
    }


def as_text(plan: Plan) -> str:
    """The plan as a table for people, smallest run first."""
    sparse = any(run.counts.idle for run in plan.runs)
    lines = [
        f"study {plan.study.study}: {len(plan.runs)} runs, "
        + (
            f"corpus {plan.corpus_id}" if len(plan.corpora) == 1 else f"{len(plan.corpora)} corpora"
        ),
        "",
        f"{'run':<14}{'label':<18}{'N':>12}"
        + f"{'N_active':>12}" * sparse
        + f"{'N_total':>12}{'D':>15}{'D/N':>8}"
        f"{'C (FLOPs)':>12}{'lr':>10}{'batch':>8}{'steps':>9}{'threads':>9}",
    ]
    for run in sorted(plan.runs, key=lambda run: (run.counts.n, run.tokens, run.label)):
        recipe = run.spec["training"]
        lines.append(
            f"{run.id:<14}{run.label:<18}{run.counts.n:>12,}"
            + f"{run.counts.n_active:>12,}" * sparse
            + f"{run.counts.n_total:>12,}"
            f"{run.tokens:>15,}{run.tokens / run.counts.n_active:>8.1f}{run.flops:>12.2e}"
            f"{recipe['lr']:>10.2g}{recipe['batch_tokens']:>8,}{recipe['steps']:>9,}"
            f"{run.spec['threads']:>9}"
        )
    total = sum(run.flops for run in plan.runs)
    lines += ["", f"total {total:.3g} training FLOPs", *plan.notes]
    return "\n".join(lines)
