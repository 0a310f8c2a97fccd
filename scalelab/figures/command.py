"""The verb `figures`: draw a study's figures from its runs.csv and laws.json."""

import argparse

from scalelab.figures import ALL, FORMATS, NotInStudy, draw_reason, draw_study, load_study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `scalelab figures`."""
    parser.add_argument("--runs", required=True, metavar="CSV", help="runs.csv of the study")
    parser.add_argument("--laws", required=True, metavar="JSON", help="laws.json of the study")
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
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument(
        "--width",
        choices=("auto", "single", "double"),
        default="auto",
        help="column width; auto: the kind's own",
    )


def run(args: argparse.Namespace) -> int:
    """Draw the figures and print the paths written."""
    study = load_study(args.runs, args.laws, args.runs_root)
    width = None if args.width == "auto" else args.width
    for name in args.only or ALL:
        try:
            paths = draw_study(name, study, args.out, args.formats, width)
        except NotInStudy as reason:
            if not args.or_reason:
                if args.only:
                    raise
                continue
            paths = draw_reason(name, str(reason), args.out, args.formats, width)
        print(f"figures: {name}: {' '.join(str(path) for path in paths)}")
    return 0
