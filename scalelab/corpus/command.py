"""The verb `corpus`."""

import argparse
from pathlib import Path

from scalelab.corpus.prepare import prepare
from scalelab.files import write_text
from scalelab.logs import add_log_argument, json_argument, reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab corpus`."""
    parser.add_argument("--spec", required=True, metavar="JSON", help="specification, or @FILE")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write")
    add_log_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Prepare the corpus; beside it, `data_hash` holds the hash that training depends on."""
    manifest = prepare(json_argument(args.spec), args.out, reporter(args.log))
    write_text(args.out / "data_hash", manifest["data_hash"] + "\n")
    return 0
