"""The model of a finished run, opened again."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from scalelab.errors import UserError
from scalelab.models.registry import LanguageModel, attend_to, build, load_weights
from scalelab.plan.families import Shape
from scalelab.sums import check_checkpoint


def load_model(
    run_folder: Path, run: dict[str, Any], separator: int
) -> tuple[LanguageModel, Shape]:
    """The model of a finished run, read from its checkpoint; it attends as it was trained to."""
    path = run_folder / "checkpoint" / "model.safetensors"
    check_checkpoint(path.parent)
    try:
        weights = load_file(path)
    except (FileNotFoundError, SafetensorError) as error:
        raise UserError(f"{path}: expected the weights of the run, but {error}") from None
    shape = Shape(**run["spec"]["model"])
    model = build(shape, seed=0)
    load_weights(model, shape, weights)
    attention = run["spec"]["training"].get("attention", "stream")
    attend_to(model, shape.family, attention, separator)
    return model, shape
