"""The verb `samples`."""

import argparse
from pathlib import Path

from scalelab.evaluation.samples import Settings, samples
from scalelab.logs import add_log_argument, reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab samples`."""
    usual = Settings()
    parser.add_argument("--runs", required=True, type=Path, metavar="CSV", help="runs.csv")
    parser.add_argument("--runs-root", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--corpora", required=True, type=Path, metavar="DIR", help="one folder a corpus"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="JSON")
    parser.add_argument("--prompts", type=int, default=usual.prompts, help="documents begun")
    parser.add_argument(
        "--tokens", type=int, default=usual.tokens, help="that each model adds to each"
    )
    parser.add_argument("--temperature", type=float, default=usual.temperature)
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--threads", type=int, default=1)
    add_log_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Write the texts of every size."""
    settings = Settings(
        prompts=args.prompts,
        tokens=args.tokens,
        temperature=args.temperature,
        seed=args.seed,
    )
    samples(
        args.runs,
        args.runs_root,
        args.corpora,
        args.out,
        settings,
        args.threads,
        reporter(args.log),
    )
    return 0
