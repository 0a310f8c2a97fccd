"""`scalelab runs prune`: says what would go, and removes it with --yes."""

import argparse
import math
from collections import Counter

from scalelab.errors import UserError
from scalelab.library import choose, removal, show
from scalelab.library.removal import Item
from scalelab.library.store import Store

SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab runs prune`."""
    choose.add_filters(parser)
    parser.add_argument(
        "--older-than", type=float, metavar="DAYS", help="what was last written longer ago"
    )
    parser.add_argument("--yes", action="store_true", help="remove; without it nothing is changed")


def run(args: argparse.Namespace) -> int:
    """Show what would go, or remove it.

    --unused takes what no plan uses: runs, trunk states, corpora, resume states of ended runs. Any
    other choice takes the runs chosen, used or not, and nothing beside them.

    Raises:
        UserError: nothing chosen, or a process is at work.
    """
    if not (args.unused or args.where or args.study or args.status):
        raise UserError(
            "runs prune: expected what to remove: --unused, --where, --status or --study"
        )
    days = args.older_than
    if days is not None and not (days >= 0 and math.isfinite(days)):
        raise UserError(f"--older-than: found {days:g}, expected days, 0 or more")
    if not args.yes:
        store, items = _chosen(args)
        print(_summary(store, items))
        return 0
    if not args.root.is_dir():
        raise UserError(f"{args.root}: no such folder of results")
    with removal.alone(args.root):
        _, items = _chosen(args)  # read under the lock: nothing else changes the folder now
        freed = removal.remove(items)
    print(f"removed {_counted(items)}, {show.in_units(freed)}")
    return 0


def _chosen(args: argparse.Namespace) -> tuple[Store, list[Item]]:
    store, pairs = choose.chosen(args)
    records = [record for record, _ in pairs]
    narrowed = args.where or args.study or args.status
    if args.unused and not narrowed:
        return store, removal.unused(store, records, args.older_than)
    items = [removal.of_run(one, _use(one.labels)) for one in records]
    return store, items if args.older_than is None else removal.older(items, args.older_than)


def _use(labels: dict[str, str]) -> str:
    return f"used by {', '.join(labels)}" if labels else "in no plan"


def _summary(store: Store, items: list[Item]) -> str:
    if not items:
        return "nothing to remove"
    rows = [
        {
            "what": item.kind,
            "where": str(item.path.relative_to(store.root)),
            "bytes": item.bytes,
            "why": item.why,
        }
        for item in items
    ]
    lines = [show.table(rows[:SHOWN], ["what", "where", "bytes", "why"])]
    if len(rows) > SHOWN:
        lines.append(f"... and {len(rows) - SHOWN} more")
    total = show.in_units(sum(item.bytes for item in items))
    lines += ["", f"would remove {_counted(items)}, {total}; nothing was changed (--yes removes)"]
    used = sum(item.why.startswith("used by") for item in items)
    if used:
        verb = "is used by a study that" if used == 1 else "are used by studies that"
        lines.append(f"{used} of them {verb} would train them again")
    return "\n".join(lines)


def _counted(items: list[Item]) -> str:
    kinds = Counter(item.kind for item in items)
    plural = {"corpus": "corpora", "remains": "remains"}
    return (
        ", ".join(
            f"{count} {kind if count == 1 else plural.get(kind, kind + 's')}"
            for kind, count in kinds.items()
        )
        or "nothing"
    )
