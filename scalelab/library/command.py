"""The verb `runs`: what lies in the results folder, by sub-verbs."""

import argparse

from scalelab.library.actions import compare, export, prune
from scalelab.library.actions import list as listing

ACTIONS = {
    "list": (listing, "what runs there are"),
    "compare": (compare, "in what some runs differ"),
    "export": (export, "a runs.csv, or checkpoints, of chosen runs"),
    "prune": (prune, "remove what no study uses, or chosen runs"),
}
"""Each module has `add_arguments(parser)` and `run(args) -> int`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-verbs of `scalelab runs`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, (module, summary) in ACTIONS.items():
        module.add_arguments(actions.add_parser(name, help=summary, description=summary))


def run(args: argparse.Namespace) -> int:
    """Run one sub-verb."""
    return ACTIONS[args.action][0].run(args)
