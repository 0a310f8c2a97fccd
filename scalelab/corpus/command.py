"""The verb `corpus`."""

import argparse
from pathlib import Path

from scalelab.corpus.prepare import prepare
from scalelab.corpus.sets import prepare_set
from scalelab.files import write_text
from scalelab.logs import add_log_argument, json_argument, reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab corpus`."""
    parser.add_argument("--spec", required=True, metavar="JSON", help="specification, or @FILE")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--beside", type=Path, metavar="DIR", help="a corpus; --spec is an evaluation set for it"
    )
    add_log_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Prepare a corpus, or a set beside one; `data_hash` holds what training depends on."""
    if args.beside is not None:
        prepare_set(json_argument(args.spec), args.beside, args.out, reporter(args.log))
        return 0
    manifest = prepare(json_argument(args.spec), args.out, reporter(args.log))
    write_text(args.out / "data_hash", manifest["data_hash"] + "\n")
    return 0
