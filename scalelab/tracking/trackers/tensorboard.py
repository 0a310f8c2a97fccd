"""TensorBoard: event files in the study's folder; `tensorboard --logdir` shows them."""

import json
import shutil
from pathlib import Path

from scalelab.tracking.record import Record
from scalelab.tracking.trackers import Tracker

CURVES = ("loss_nats", "lr", "grad_norm", "tokens_per_second")


def log(record: Record, folder: Path) -> str:
    """One folder a run. The step of a curve is its tokens; the loss stands by FLOPs as well,
    in 1e9, since a step is a whole number of 64 bits."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / record.id)) as writer:
        for line in record.lines:
            for name in CURVES:
                if line.get(name) is not None:
                    writer.add_scalar(f"{name}/tokens", line[name], line["tokens"])
            writer.add_scalar("loss_nats/gigaflops", line["loss_nats"], int(line["flops"] // 1e9))
        for name, value in record.summary.items():
            if isinstance(value, (int, float)):
                writer.add_scalar(f"summary/{name}", value, 0)
        about = {
            "name": record.name,
            "group": record.group,
            "job_type": record.job_type,
            "tags": list(record.tags),
            "config": record.config,
        }
        writer.add_text("about", f"```\n{json.dumps(about, indent=1)}\n```", 0)
        for title, path in record.images.items():
            writer.add_image(title, _pixels(path), 0, dataformats="HWC")
        for title, (columns, rows) in record.tables.items():
            lines = [columns, ["---"] * len(columns), *rows]
            writer.add_text(title, "\n".join("| " + " | ".join(row) + " |" for row in lines), 0)
    return record.id


def _pixels(path: Path) -> object:
    from matplotlib.image import imread

    return imread(path)[..., :3]


def forget(record: Record, folder: Path) -> None:
    """Remove the older event files of a run: TensorBoard would draw both."""
    shutil.rmtree(folder / record.id, ignore_errors=True)


TRACKER = Tracker("tensorboard", log, forget, package="tensorboard", extra="trackers")
