"""The verb `figures`: draw a study's figures from its runs.csv and laws.json."""

import argparse
from pathlib import Path

from scalelab.errors import UserError
from scalelab.figures import (
    ALL,
    FORMATS,
    NotInStudy,
    draw_reason,
    draw_study,
    load_study,
    venues,
)
from scalelab.plan.folder import RESULTS, study_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `scalelab figures`."""
    parser.add_argument(
        "--study",
        type=Path,
        metavar="DIR",
        help="folder with runs.csv and laws.json (default: the only such folder in results)",
    )
    parser.add_argument("--runs", metavar="CSV", help="another table of runs than the study's")
    parser.add_argument("--laws", metavar="JSON", help="other laws than the study's")
    parser.add_argument(
        "--runs-root",
        metavar="DIR",
        help="folder with one folder a run, for the curves (default: runs beside the study)",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=ALL,
        metavar="KIND",
        help=f"one of {', '.join(ALL)}; may be repeated (default: all that the study has data for)",
    )
    parser.add_argument(
        "--or-reason",
        action="store_true",
        help="a kind that the study has no data for says so in its figure's place",
    )
    parser.add_argument(
        "--style",
        default="paper",
        metavar="VENUE",
        help="; ".join(f"{name}: {venue.told}" for name, venue in venues.VENUES.items()),
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder to write to (default: figures in the study's folder, figures-VENUE there for "
        "another style than paper)",
    )
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument(
        "--width",
        choices=("auto", "single", "double"),
        default="auto",
        help="column width; auto: the kind's own",
    )


def run(args: argparse.Namespace) -> int:
    """Draw the figures and print the paths written."""
    venues.get(args.style)  # an unknown one is said before anything is read
    whole = args.runs and args.laws and args.out
    folder = RESULTS if whole else study_folder(args.study or only_study(RESULTS))
    study = load_study(
        args.runs or folder / "runs.csv", args.laws or folder / "laws.json", args.runs_root
    )
    out = args.out or folder / ("figures" if args.style == "paper" else f"figures-{args.style}")
    width = None if args.width == "auto" else args.width
    for name in args.only or ALL:
        try:
            paths = draw_study(name, study, out, args.formats, width, args.style)
        except NotInStudy as reason:
            if not args.or_reason:
                if args.only:
                    raise
                continue
            paths = draw_reason(name, str(reason), out, args.formats, width, args.style)
        print(f"figures: {name}: {' '.join(str(path) for path in paths)}")
    return 0


def only_study(results: Path) -> Path:
    """The one folder below `results` that holds laws.json; a UserError where there are several."""
    found = sorted(path.parent for path in results.glob("*/laws.json"))
    if len(found) == 1:
        return found[0]
    names = ", ".join(str(path) for path in found) or "none"
    raise UserError(f"--study: not given, expected one study in {results}, found {names}")
