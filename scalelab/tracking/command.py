"""The verb `track`."""

import argparse
from pathlib import Path

from scalelab.files import read_json, write_json
from scalelab.logs import add_log_argument, reporter
from scalelab.tracking.wandb_mirror import mirror


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab track`."""
    parser.add_argument("--plan", required=True, type=Path, metavar="JSON")
    parser.add_argument("--runs-root", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--folder", required=True, type=Path, metavar="DIR", help="gets a folder wandb"
    )
    parser.add_argument(
        "--mode", default="offline", help="offline, online or disabled; WANDB_MODE replaces it"
    )
    parser.add_argument("--project", default="scalelab")
    parser.add_argument("--out", required=True, type=Path, metavar="JSON", help="what was done")
    add_log_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Mirror; a fault of W&B is a warning in the result, never an exit code."""
    plan = read_json(args.plan)
    result = mirror(plan, args.runs_root, args.folder, args.mode, args.project, reporter(args.log))
    write_json(args.out, result)
    return 0
