"""The verb `status`."""

import argparse
import json

from scalelab.live.choose import add_study_argument, chosen
from scalelab.live.status import as_json, as_text
from scalelab.live.study import read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab status`."""
    add_study_argument(parser)
    parser.add_argument("--json", action="store_true", help="for programs")


def run(args: argparse.Namespace) -> int:
    """Print how a study stands; before, while and after it runs. Changes nothing."""
    study = read(chosen(args.study))
    print(json.dumps(as_json(study, curves=False), indent=1) if args.json else as_text(study))
    return 0
