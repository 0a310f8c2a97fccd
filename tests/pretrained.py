"""Stand-ins for the checkpoints of config/axes/pretrained.yaml, which transfer.yaml starts from."""

import json
from pathlib import Path

from scalelab.config import load
from scalelab.plan.runs import build

STUDY = Path(__file__).resolve().parents[1] / "config" / "axes" / "pretrained.yaml"


def write_checkpoints(root: Path) -> None:
    """Configurations of its runs, with weights that are none, below a working folder."""
    for run in build(load(STUDY)).runs:
        folder = root / "results" / "pretrained" / "checkpoints" / run.label
        folder.mkdir(parents=True, exist_ok=True)
        shape = run.spec["model"]
        names = {"n_embd": "width", "n_layer": "depth", "n_head": "heads", "n_positions": "context"}
        config = {name: shape[key] for name, key in {**names, "vocab_size": "vocab"}.items()}
        text = json.dumps({"model_type": shape["family"], **config})
        (folder / "config.json").write_text(text, encoding="utf-8")
        (folder / "model.safetensors").write_bytes(run.label.encode())
