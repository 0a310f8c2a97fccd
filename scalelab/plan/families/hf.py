"""Causal models of transformers by name: counted from the built model, in a process of its own.

Planning loads no torch, so a process that does is asked (`scalelab.models.counting`) and stays for
further shapes. What it said is kept for the user, unless the configuration is on the hub.
"""

import atexit
import contextlib
import functools
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scalelab.errors import UserError
from scalelab.files import cache_file, digest, write_json
from scalelab.plan.families import OF_TRANSFORMERS, Counts, Shape, register
from scalelab.provenance import code_digest, versions


@register(OF_TRANSFORMERS)
@functools.cache
def counts(shape: Shape) -> Counts:
    """Counts of the class of transformers at this shape.

    Every parameter is counted in the built model: those of the token embedding, of other
    embeddings, of a head that is not tied, and the rest, N. FLOPs are those that torch counts in a
    forward pass of one sequence of the whole context, products with weights and products of
    attention apart, by token and rounded to whole FLOPs.

    Raises:
        UserError: transformers has no such model, it does not take the shape, or it is not causal.
    """
    name = shape.family.partition(":")[2]
    memory, key = cache_file("counts.json"), _key(shape, name)
    found = _read(memory).get(key) if key else None
    if found is None:
        found = _asked(shape)
        if key:
            with contextlib.suppress(OSError):
                write_json(memory, {**_read(memory), key: found})
    return Counts(**found)


def _key(shape: Shape, name: str) -> str | None:
    """What the counts depend on; None where a configuration on the hub may change."""
    told = Path(name) / "config.json"
    if "/" in name and not told.is_file():
        return None
    content = told.read_text(encoding="utf-8") if told.is_file() else ""
    code = code_digest("models/counting")
    return digest([shape.specification(), content, code, versions(("torch", "transformers"))])


def _read(memory: Path) -> dict[str, dict[str, int]]:
    """What was counted so far; nothing where the file is not there or not whole."""
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
        return {key: value for key, value in known.items() if asdict(Counts(**value)) == value}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _asked(shape: Shape) -> dict[str, int]:
    """What the counting process says."""
    process = _process()
    assert process.stdin and process.stdout
    try:
        process.stdin.write(json.dumps(asdict(shape)) + "\n")
        process.stdin.flush()
        told: dict[str, Any] = json.loads(process.stdout.readline())
    except (OSError, ValueError):
        _process.cache_clear()
        process.kill()
        raise UserError(
            f"model.family: {shape.family} could not be counted: the process that counts ended"
        ) from None
    if "error" in told:
        raise UserError(told["error"])
    return dict(told["counts"])


@functools.cache
def _process() -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-m", "scalelab.models.counting"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    atexit.register(process.kill)
    return process
