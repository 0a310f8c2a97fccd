"""The verb `round`: what an adaptive study trains next."""

import argparse
from pathlib import Path
from typing import Any

from scalelab import config
from scalelab.advise.rounds import first, following
from scalelab.evaluation.collect import collect
from scalelab.files import read_json, write_json
from scalelab.logs import json_argument
from scalelab.plan.command import as_json
from scalelab.plan.runs import build
from scalelab.provenance import manifest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab round`."""
    parser.add_argument("study", type=Path, metavar="STUDY.yaml")
    parser.add_argument("--set", metavar="JSON", help="keys that replace those of the file")
    parser.add_argument("--runs-root", required=True, type=Path, metavar="DIR")
    parser.add_argument("--before", type=Path, metavar="JSON", help="the round before; first: none")
    parser.add_argument("--out", required=True, type=Path, metavar="JSON")


def run(args: argparse.Namespace) -> int:
    """Decide, print and write."""
    plan = build(config.load(args.study, json_argument(args.set) if args.set else None))
    if args.before is None:
        found = first(plan)
    else:
        before = read_json(args.before)
        content = as_json(plan)
        wanted = set(before["runs"])
        content["runs"] = [item for item in content["runs"] if item["id"] in wanted]
        found = following(plan, before, collect(content, args.runs_root))
    labels = {one.id: one.label for one in plan.runs}
    print(f"round {found.number}: {found.told}")
    for identity in found.added:
        print(f"  {labels[identity]}")
    made: dict[str, Any] = manifest([as_json(plan)["runs"], found.to_json()])
    write_json(args.out, {**found.to_json(), "provenance": made})
    return 0
