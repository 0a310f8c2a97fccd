"""The verb `track`."""

import argparse
from pathlib import Path

from scalelab.files import read_json, write_json
from scalelab.logs import add_log_argument, reporter
from scalelab.tracking.mirror import fit_of, mirror, runs_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab track`."""
    parser.add_argument("--plan", required=True, type=Path, metavar="JSON")
    parser.add_argument("--runs-root", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--folder", required=True, type=Path, metavar="DIR", help="gets a folder of the tracker"
    )
    parser.add_argument(
        "--fit",
        action="store_true",
        help="the study's fit (laws.json, tables and figures in --folder) instead of its runs",
    )
    parser.add_argument(
        "--tracker", default="wandb", help="wandb, tensorboard, trackio or none (default: wandb)"
    )
    parser.add_argument(
        "--mode", default="offline", help="offline, online or disabled; WANDB_MODE replaces it"
    )
    parser.add_argument("--project", default="scalelab")
    parser.add_argument("--out", required=True, type=Path, metavar="JSON", help="what was done")
    add_log_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Mirror; a fault of a tracker is a warning in the result, never an exit code."""
    plan = read_json(args.plan)
    wanted = (
        fit_of(plan, args.folder, args.project)
        if args.fit
        else runs_of(plan, args.runs_root, args.project)
    )
    result = mirror(wanted, args.folder, args.tracker, args.mode, reporter(args.log))
    write_json(args.out, {**result, "project": args.project})
    return 0
