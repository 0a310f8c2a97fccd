"""The verb `report`: one page that opens from disk without a network."""

import argparse
from pathlib import Path
from typing import Any

from scalelab.figures.study import load_study
from scalelab.files import read_json
from scalelab.report.page import write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `scalelab report`."""
    parser.add_argument("--runs", required=True, metavar="CSV", help="runs.csv of the study")
    parser.add_argument("--laws", required=True, metavar="JSON", help="laws.json of the study")
    parser.add_argument(
        "--figures", required=True, metavar="DIR", help="folder of the figures (their SVG is used)"
    )
    parser.add_argument("--manifest", metavar="JSON", help="manifest.json of the corpus")
    parser.add_argument(
        "--plan", metavar="JSON", help="plan of the study, to count what is missing"
    )
    parser.add_argument("--samples", metavar="JSON", help="what the models write")
    parser.add_argument("--tracking", metavar="JSON", help="ids of the runs in W&B")
    parser.add_argument(
        "--runs-root", metavar="DIR", help="folder of the runs (default: runs beside the study's)"
    )
    parser.add_argument("--out", required=True, metavar="HTML", help="file to write")


def _corpus(manifest: Path) -> dict[str, Any]:
    """The manifest with the card beside it, which corpora of earlier versions lack."""
    card = manifest.with_name("card.json")
    return {**read_json(manifest), "card": read_json(card) if card.is_file() else None}


def run(args: argparse.Namespace) -> int:
    """Write the page and print its path and size."""
    path = write_report(
        load_study(args.runs, args.laws, args.runs_root),
        args.figures,
        args.out,
        corpus=_corpus(Path(args.manifest)) if args.manifest else None,
        plan=read_json(args.plan) if args.plan else None,
        samples=read_json(args.samples) if args.samples else None,
        tracking=read_json(args.tracking) if args.tracking else None,
    )
    print(f"report: {path} ({path.stat().st_size / 1e6:.2f} MB)")
    return 0
