"""The speed of this machine, measured once in a process of its own and remembered."""

import contextlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scalelab.errors import UserError
from scalelab.files import cache_file, digest, write_json
from scalelab.plan.estimate import Speed, speed_of
from scalelab.plan.runs import Run
from scalelab.provenance import stage_digest

SECONDS = 10
PATIENCE = 300


def calibrate(chosen: Sequence[Run], seconds: float = SECONDS) -> Speed:
    """Seconds a token of these runs on this machine, measured now or remembered.

    Raises:
        UserError: the measurement failed, with what it said.
    """
    # Neither text nor seed nor length changes the speed of a step.
    keys = ("model", "threads")
    shapes = [
        {key: run.spec[key] for key in keys}
        | {"batch": run.spec["training"]["batch_tokens"], "by": run.spec["training"]["precision"]}
        | ({"clipped": True} if "dp" in run.spec["training"] else {})
        for run in chosen
    ]
    code = [stage_digest("train", family=run.spec["model"]["family"]) for run in chosen]
    key = digest([shapes, code, platform.node(), os.cpu_count(), sys.executable])
    memory = cache_file("speed.json")
    known = _read(memory)
    if key not in known:
        known[key] = _measure([run.spec for run in chosen], seconds)
        with contextlib.suppress(OSError):
            write_json(memory, known)
    return speed_of(known[key], chosen)


def _measure(specs: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    words = [sys.executable, "-m", "scalelab", "calibrate"]
    words += ["--specs", json.dumps(specs), "--seconds", str(seconds)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
        told = getattr(error, "stderr", None) or (done.stderr if "done" in locals() else "")
        last = str(told).strip().splitlines()[-1:] or [type(error).__name__]
        raise UserError(f"scalelab calibrate gave no speed: {last[0]}") from None


def _read(memory: Path) -> dict[str, Any]:
    """What was measured so far; nothing where the file is not there or not whole."""
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    whole = isinstance(known, dict) and all(
        isinstance(value, dict) and {"start_seconds", "step_seconds"} <= set(value)
        for value in known.values()
    )
    return known if whole else {}
