"""The command line: one table from verb to the module that has its arguments and its action."""

import argparse
import contextlib
import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence

from scalelab import __version__
from scalelab.errors import UserError, of_system, redacted

VERBS = {
    "plan": ("scalelab.advise.command_plan", "show or write the runs of a study"),
    "corpus": ("scalelab.corpus.command", "prepare text: clean, split, tokenize"),
    "card": ("scalelab.corpus.command_card", "what a prepared corpus holds: its report card"),
    "round": ("scalelab.advise.command_round", "choose the next runs of an adaptive study"),
    "calibrate": ("scalelab.training.calibrate", "measure how fast this machine trains"),
    "train": ("scalelab.training.command", "train one run"),
    "trunk": ("scalelab.training.trunk", "train the steps that several runs share"),
    "evaluate": ("scalelab.evaluation.command", "score one run on held-out text"),
    "status": ("scalelab.live.command_status", "how a study stands, while it runs and after"),
    "watch": ("scalelab.live.command_watch", "the same as a live page on this machine"),
    "samples": ("scalelab.evaluation.command_samples", "text that the model of each size writes"),
    "measure": ("scalelab.evaluation.command_measure", "measure a run beside its loss"),
    "collect": ("scalelab.evaluation.collect", "gather a study's runs into runs.csv"),
    "track": ("scalelab.tracking.command", "mirror a study's runs, or its fit, to a tracker"),
    "sync": ("scalelab.tracking.command_sync", "upload what was logged offline, once"),
    "verify": ("scalelab.sums", "compare files with the sums that were written with them"),
    "fit": ("scalelab.laws.command", "fit a scaling law to a table of runs"),
    "predict": ("scalelab.laws.command_predict", "predict losses from a fitted or published law"),
    "allocate": ("scalelab.laws.command_allocate", "best N and D for a budget, with intervals"),
    "next": ("scalelab.figures.command_next", "the runs that narrow an interval most for a budget"),
    "compare": ("scalelab.laws.command_compare", "compare laws on a table of runs"),
    "runs": ("scalelab.library.command", "list, compare, export and prune finished runs"),
    "import": ("scalelab.library.command_import", "finished runs from elsewhere into a runs.csv"),
    "figures": ("scalelab.figures.command", "draw the figures"),
    "tables": ("scalelab.report.command_tables", "write the tables"),
    "report": ("scalelab.report.command", "write the report"),
}
"""Each module has `add_arguments(parser)` and `run(args) -> int`; only the chosen one is loaded."""


def main(words: Sequence[str] | None = None) -> int:
    """Run one verb. Returns the exit code: 0, or 2 for bad input (one sentence on stderr)."""
    words = list(sys.argv[1:] if words is None else words)
    # A language or a name of a file that a terminal cannot show must not end what was computed.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(
        prog="scalelab", description="Scaling laws as a measurement, from text to paper figure."
    )
    parser.add_argument("--version", action="version", version=f"scalelab {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, (module, summary) in VERBS.items():
        # The parser of a verb is filled only when it is called for, so that the start stays quick.
        verb = verbs.add_parser(name, help=summary, description=summary)
        if words and words[0] == name:
            importlib.import_module(module).add_arguments(verb)
    args = parser.parse_args(words)
    args.words = words
    module = VERBS[args.verb][0]
    try:
        return int(importlib.import_module(module).run(args))
    except UserError as error:
        return _refused(args, error)
    except BrokenPipeError:
        # The reader of a pipe (head, less) has gone; there is no one left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        told = of_system(error, getattr(args, "out", None))
        if told is None:
            _log(args, redacted(traceback.format_exc()))
            raise
        return _refused(args, told)
    except Exception:
        _log(args, redacted(traceback.format_exc()))
        raise


def _refused(args: argparse.Namespace, error: UserError) -> int:
    print(f"scalelab {args.verb}: {error}", file=sys.stderr)
    _log(args, f"{error}\n")
    return 2


def _log(args: argparse.Namespace, text: str) -> None:
    """Append to the log file of a verb that was given one and has begun it.

    A log that cannot be written to (a full disk) must not hide the error that was to stand in it.
    """
    log = getattr(args, "log", None)
    if log and log.parent.is_dir():
        with contextlib.suppress(OSError), open(log, "a", encoding="utf-8") as out:
            out.write(text)
