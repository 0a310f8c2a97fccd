"""The verb `watch`."""

import argparse

from scalelab.live.choose import add_study_argument, chosen
from scalelab.live.server import Server
from scalelab.live.study import read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab watch`."""
    add_study_argument(parser)
    parser.add_argument("--port", type=int, default=0, help="default: one that is free")
    parser.add_argument(
        "--once", action="store_true", help="end when the status was asked for once"
    )


def run(args: argparse.Namespace) -> int:
    """Serve the page on this machine until Ctrl-C; the exit code is 0 then."""
    study = chosen(args.study)
    read(study)  # a folder that is none is told here, not on the page
    server = Server(study, args.port, args.once)
    print(f"study {study} is at {server.url} (Ctrl-C ends it)", flush=True)
    server.serve()
    return 0
