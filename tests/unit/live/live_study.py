"""A study in the middle of its work, in files as the product writes them."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from scalelab.config import parse
from scalelab.files import write_json
from scalelab.live.announce import announce
from scalelab.plan.command import as_json
from scalelab.plan.runs import build
from scalelab.training.progress import identity

SIZES = (8, 16, 24, 32, 48, 64)


def plan(**changes: Any) -> dict[str, Any]:
    """plan.json of a study of six sizes."""
    study = {
        "study": "micro",
        "corpus": {"source": "docstrings", "tokenizer": "bytes"},
        "model": {"depth": 1, "heads": 2, "context": 32},
        "ladder": {"widths": list(SIZES)},
        "training": {"tokens": 60_000, "batch_tokens": 256, "lr": 1e-2},
        **changes,
    }
    return as_json(build(parse(study)))


def begin(root: Path, made: dict[str, Any], cores: int = 2, **more: Any) -> Path:
    """The folder of a study whose workflow, this process, has just started."""
    folder = root / made["study"]
    announce(folder, made, cores, **more)
    return folder


def ended(root: Path, made: dict[str, Any], number: int, status: str = "ok") -> Path:
    """The run of that number (the costliest is 0) has ended; 10,000 tokens a second."""
    item = made["runs"][number]
    folder = root / "runs" / item["id"]
    reason = None if status == "ok" else "step 7: the loss is not finite"
    run = {"id": item["id"], "spec": item["spec"], "status": status, "reason": reason}
    run |= {"steps": item["spec"]["training"]["steps"], "tokens_per_second": 10_000.0}
    write_json(folder / "run.json", {**run, "train_loss_nats": 3.25})
    lines = ({"tokens": 256 * 10**k, "loss_nats": 6 - k} for k in range(3))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def evaluated(root: Path, made: dict[str, Any], number: int) -> None:
    """Its held-out loss is there too."""
    folder = root / "runs" / made["runs"][number]["id"]
    write_json(folder / "eval" / f"{made['evaluation_id']}.json", {"loss_nats": 3.5})


def at_work(root: Path, made: dict[str, Any], number: int, **changes: Any) -> Path:
    """The run of that number is trained by this process: step 117 of 234."""
    item = made["runs"][number]
    folder = root / "runs" / item["id"]
    state = {
        "label": "N=1 d=1 seed 1",
        "steps": item["spec"]["training"]["steps"],
        **identity(),
        "started": time.time(),
        "step": 117,
        "loss_nats": 4.125,
        "tokens_per_second": 5_000.0,
        "seconds_left": 60.0,
        "updated": time.time(),
        "curve": [[256, 6.0], [2560, 5.0], [25600, 4.5]],
    }
    write_json(folder / "progress.json", {**state, **changes})
    return folder


def gone() -> dict[str, Any]:
    """The identity of a process of this host that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return {"host": socket.gethostname(), "pid": child.pid, "born": 1}


def recycled() -> dict[str, Any]:
    """The identity of a process whose number another one has now."""
    return {**identity(), "pid": os.getpid(), "born": 1}
