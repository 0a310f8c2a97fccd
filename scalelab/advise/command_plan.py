"""The verb `plan`: the runs of a study, what they cost and cannot tell; or a study for a budget."""

import argparse
import os
from pathlib import Path
from typing import Any

from scalelab import config
from scalelab.advise import command_cluster
from scalelab.advise.budget import within
from scalelab.errors import UserError
from scalelab.files import read_json, write_json, write_text
from scalelab.logs import json_argument
from scalelab.plan.command import as_json, as_text
from scalelab.plan.runs import Plan, build


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab plan`."""
    parser.add_argument("study", type=Path, nargs="?", metavar="STUDY.yaml")
    parser.add_argument("--set", metavar="JSON", help="keys that replace those of the file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the plan there, no more")
    parser.add_argument(
        "--only", type=Path, metavar="JSON", help="with --json: the runs of this round alone"
    )
    parser.add_argument(
        "--cores", type=int, default=None, help="cores that jobs run on (default: all)"
    )
    parser.add_argument(
        "--no-time", action="store_true", help="leave out hours, and so the calibration"
    )
    parser.add_argument("--noise", type=float, default=0.003, help="of a run's loss, relative")
    proposal = parser.add_argument_group("a study for a budget, instead of STUDY.yaml")
    proposal.add_argument("--flops", help="training FLOPs of all runs, such as 1e18")
    proposal.add_argument("--hours", help="hours on this machine")
    proposal.add_argument("--dollars", help="with --dollars-per-hour of this machine")
    proposal.add_argument("--dollars-per-hour", help="what an hour of this machine costs")
    proposal.add_argument("--design", default="ladder", help="ladder, grid, isoflop or overtrain")
    proposal.add_argument("--sizes", type=int, default=8, help="sizes (default: 8)")
    proposal.add_argument("--out", type=Path, metavar="STUDY.yaml", help="write it there")
    command_cluster.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the plan, or write it; or propose a study for a budget."""
    cores = args.cores or os.cpu_count() or 1
    if cores < 1:
        raise UserError(f"--cores {cores}: expected 1 or more")
    if args.cluster:
        return command_cluster.run(args)
    budgets = [args.flops, args.hours, args.dollars]
    if sum(one is not None for one in budgets) + (args.study is not None) != 1:
        raise UserError("expected a study file, or one of --flops, --hours and --dollars")
    if args.study is None:
        return _propose(args, cores)
    overrides = json_argument(args.set) if args.set else None
    plan = build(config.load(args.study, overrides))
    if args.json:
        write_json(args.json, _chosen(as_json(plan), args.only))
        return 0
    print(as_text(plan))
    print("\n".join(_cost(plan, cores, args.no_time) + _weak(plan, args.noise)))
    return 0


def _chosen(content: dict[str, Any], only: Path | None) -> dict[str, Any]:
    """The plan, or that of the runs that an adaptive study chose."""
    if only is None:
        return content
    rounds = read_json(only)
    wanted = set(rounds["runs"])
    runs = [item for item in content["runs"] if item["id"] in wanted]
    note = (
        f"{len(runs)} of {len(content['runs'])} runs of the design chosen in {rounds['number']} "
        f"rounds: {rounds['stop']}"
    )
    return {**content, "runs": runs, "notes": [*content["notes"], note]}


def _cost(plan: Plan, cores: int, no_time: bool) -> list[str]:
    from scalelab.plan.calibration import calibrate
    from scalelab.plan.estimate import disk_bytes, estimate, samples

    disk = f"{disk_bytes(plan) / 1e6:,.0f} MB of disk without the corpus"
    if no_time:
        return [disk]
    found = estimate(plan, calibrate(samples(plan.runs)), cores)
    return [
        f"about {_time(found.wall_seconds)} on {cores} cores of this machine once the text is "
        f"prepared ({found.job_seconds / 3600:.2g} hours of jobs, by steps timed for ten seconds; "
        f"what else was at work then counts too); {disk}"
    ]


def _time(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _weak(plan: Plan, noise: float) -> list[str]:
    from scalelab.advise.weaknesses import weaknesses
    from scalelab.laws import registry
    from scalelab.plan.warnings import warnings

    told = warnings(plan)
    for fit in plan.fits[:1]:
        form = registry.get(fit["law"])
        columns = form.columns if len(form.columns) > 1 else (fit.get("x") or "N",)
        rows = [dict(zip(form.columns, run.values(columns), strict=True)) for run in plan.runs]
        try:
            told += weaknesses(rows, fit["law"], noise)
        except UserError as error:  # a law that nobody has published constants of
            if "no published law" not in str(error):
                raise
    return ["", *(f"weak: {line}" for line in told)] if told else []


def _propose(args: argparse.Namespace, cores: int) -> int:
    from scalelab.advise.budget import tells
    from scalelab.advise.study_file import as_yaml, comments, study

    name = args.out.stem if args.out else f"{args.design}-proposed"
    proposal, budget = within(args, cores)
    content = study(proposal, name)
    words = f"{budget} --design {args.design} --sizes {args.sizes}"
    lines = [*comments(proposal, words), *tells(proposal, args.noise)]
    text = as_yaml(content, lines)
    # What is proposed must be a study: the same checks as for a file, all runs resolved.
    parsed = config.parse(content)
    if parsed.corpus.source != "files":
        build(parsed)
    if args.out:
        write_text(args.out, text)
        print(f"{args.out}: {proposal.flops:.3g} training FLOPs; next, scalelab plan {args.out}")
        print("\n".join(lines))
    else:
        print(text, end="")
    return 0
