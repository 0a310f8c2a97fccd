"""The verb `card`: the report card of a prepared corpus."""

import argparse
import json
from pathlib import Path

from scalelab.corpus.card import text_card
from scalelab.errors import UserError
from scalelab.files import read_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `scalelab card`."""
    parser.add_argument("corpus", type=Path, metavar="DIR", help="folder of a prepared corpus")
    parser.add_argument("--json", action="store_true", help="print card.json itself")


def run(args: argparse.Namespace) -> int:
    """Print the card."""
    path = args.corpus / "card.json"
    if not args.corpus.is_dir():
        raise UserError(f"{args.corpus}: no such folder, expected that of a prepared corpus")
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; a corpus that is not finished, or that an earlier version "
            "prepared, has no card"
        )
    card = read_json(path)
    try:
        text = json.dumps(card, indent=1) + "\n" if args.json else text_card(card)
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: expected a report card, as `scalelab corpus` writes it") from None
    print(text, end="")
    return 0
