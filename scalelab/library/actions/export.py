"""`scalelab runs export`: chosen runs as a runs.csv, or their checkpoints as a folder."""

import argparse
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scalelab.errors import UserError
from scalelab.evaluation.collect import row as columns_of
from scalelab.files import atomic_folder, write_text
from scalelab.library import choose, show
from scalelab.library.store import NO_SCORE, NO_SETTINGS, Record

Pair = tuple[Record, dict[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab runs export`."""
    choose.add_filters(parser)
    parser.add_argument("--csv", type=Path, metavar="FILE", help="a table that `fit` reads")
    parser.add_argument(
        "--checkpoints", type=Path, metavar="DIR", help="gets a link to each checkpoint, by label"
    )
    parser.add_argument("--copy", action="store_true", help="copy the checkpoints")


def run(args: argparse.Namespace) -> int:
    """Write what is asked for. Raises `UserError` where no run is left or losses do not compare."""
    if not (args.csv or args.checkpoints):
        raise UserError("runs export: expected --csv FILE or --checkpoints DIR")
    _, pairs = choose.chosen(args)
    whole = [(record, row) for record, row in pairs if is_whole(record, row)]
    if not whole:
        raise UserError(
            f"runs export: none of the {len(pairs)} runs chosen has ended and been evaluated"
        )
    if note := choose.several_evaluations(whole):
        raise UserError(f"runs export: {note}")
    whole.sort(key=lambda pair: (pair[1]["N"], pair[1]["D"], pair[1]["label"]))
    if args.csv:
        write_text(args.csv, as_table(whole, args.csv))
        print(f"{args.csv}: {len(whole)} runs{_left_out(pairs, whole)}")
    if args.checkpoints:
        saved = [pair for pair in whole if (pair[0].folder / "checkpoint").is_dir()]
        write_checkpoints(saved, args.checkpoints, args.copy)
        print(f"{args.checkpoints}: {len(saved)} checkpoints{_left_out(pairs, saved)}")
    return 0


def is_whole(record: Record, row: dict[str, Any]) -> bool:
    """Whether a run is a result: it ended, and has a loss where it ended well."""
    return (
        record.run is not None
        and record.status != "damaged"
        and (record.status != "ok" or row["loss_nats"] is not None)
    )


def as_table(pairs: Sequence[Pair], out: Path) -> str:
    """The text of a runs.csv; `checkpoint` is relative to `out`. Columns: results/README.md."""
    rows = []
    for record, row in pairs:
        assert record.run is not None
        score = record.scores.get(row["evaluation"], {**NO_SCORE, "settings": NO_SETTINGS})
        cells = columns_of(row["label"], record.run, score)
        where = os.path.relpath(record.folder.resolve() / "checkpoint", out.resolve().parent)
        rows.append({**cells, "checkpoint": Path(where).as_posix()})
    return show.as_csv(rows, list(rows[0]))


def write_checkpoints(pairs: Sequence[Pair], out: Path, copy: bool) -> None:
    """A folder that has each checkpoint under its label, with the id where labels are not unique.

    Raises:
        UserError: the folder is there and holds something else than checkpoints.
    """
    _refuse_strangers(out)
    times = Counter(row["label"] for _, row in pairs)
    with atomic_folder(out) as temporary:
        for record, row in pairs:
            label = row["label"].replace("/", "_").replace(" ", "_")
            name = label if times[row["label"]] == 1 else f"{label}-{record.id}"
            source = record.folder.resolve() / "checkpoint"
            if copy:
                shutil.copytree(source, temporary / name)
            else:
                (temporary / name).symlink_to(os.path.relpath(source, out.resolve()))


def _refuse_strangers(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"{out}: is a file, expected a folder for checkpoints")
    odd = [
        path.name
        for path in out.iterdir()
        if not (path.is_symlink() or (path / "scalelab.json").is_file())
    ]
    if odd:
        raise UserError(
            f"{out}: holds {odd[0]}, which is no checkpoint; expected a new folder or one that an "
            "export made"
        )


def _left_out(pairs: Sequence[Pair], kept: Sequence[Pair]) -> str:
    ids = {record.id for record, _ in kept}
    reasons = Counter(
        record.status if record.status in ("unfinished", "damaged") else "without a result"
        for record, _ in pairs
        if record.id not in ids
    )
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    return f" (left out: {listed})" if listed else ""
