"""Which checkpoint a run starts from (`training.init`), and what stands for it in its identity."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from scalelab.config import Study
from scalelab.errors import UserError, shown
from scalelab.plan import hub
from scalelab.plan.families import Counts, Shape, exported_type
from scalelab.plan.files import remembered_sha256

KEY = "training.init"
WEIGHTS, CONFIG = "model.safetensors", "config.json"
RESULTS = "results"
NAMES = {
    "width": ("hidden_size", "n_embd", "d_model"),
    "depth": ("num_hidden_layers", "n_layer", "num_layers"),
    "heads": ("num_attention_heads", "n_head", "num_heads"),
    "vocabulary": ("vocab_size",),
    "context": ("max_position_embeddings", "n_positions"),
}
"""What configurations of transformers call the parts of a shape."""
PLACEHOLDERS = ("width", "depth", "seed")


@dataclass(frozen=True)
class Start:
    """A checkpoint: where it is, and what its weights are."""

    place: str
    """A folder, or the name of a model on the hub."""
    identity: dict[str, str]
    """`{"sha256": ...}` of a folder's weights, `{"commit": ...}` of a model of the hub."""


def start_of(study: Study, shape: Shape, counts: Counts, seed: int) -> Start | None:
    """The checkpoint that a run starts from; None where its weights are drawn.

    seed: the number of the seed, from 1.

    Raises:
        UserError: there is no such checkpoint, or it is of another model than the run.
    """
    pattern = study.training.init
    if pattern is None:
        return None
    name = _filled(pattern, {"width": shape.width, "depth": shape.depth, "seed": seed})
    folder = _folder(name)
    if folder is not None:
        start = _of_folder(folder)
    elif match := re.fullmatch(r"([\w-][\w.-]*/[\w.-]+)(?:@([\w./-]+))?", name):
        return _of_hub(match[1], match[2] or "main", shape, counts)
    else:
        raise UserError(
            f"{KEY}: found {shown(name)}, expected a folder with a checkpoint or owner/name on "
            f"the Hugging Face hub{_untrained(name)}"
        )
    _check(_config(folder / CONFIG), start.place, shape, counts)
    return start


def started(spec: dict[str, Any], start: Start) -> dict[str, Any]:
    """The specification of a run that starts from a checkpoint."""
    return {**spec, "training": {**spec["training"], "init": start.identity}}


def called(value: str, others: Iterable[Any]) -> str:
    """A short name for a value of the key: the study or folder that the checkpoints are of.

    others: the values that it has to be told from.
    """
    same = [other for other in others if other is not None and _word(other) == _word(value)]
    return _word(value) if len(same) < 2 else value


def _word(value: Any) -> str:
    left_out = (RESULTS, "checkpoints", "checkpoint", "runs")
    parts = PurePosixPath(str(value)).parts
    kept = [part for part in parts if part not in left_out and "{" not in part]
    return "-".join(kept[-2:]) or str(value)


def _filled(pattern: str, values: dict[str, int]) -> str:
    for name in re.findall(r"\{(.*?)\}", pattern):
        if name not in values:
            raise UserError(
                f"{KEY}: found {{{name}}} in {shown(pattern)}, expected "
                f"{', '.join(f'{{{known}}}' for known in PLACEHOLDERS)} between braces"
            )
        pattern = pattern.replace(f"{{{name}}}", str(values[name]))
    return pattern


def _folder(name: str) -> Path | None:
    """The folder of that name; None where there is none."""
    try:
        path = Path(name).expanduser()
        return path if name.strip() and path.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # too long a name, no such home, a null byte
        return None


def _untrained(name: str) -> str:
    """What to do about a checkpoint of a study that is not trained yet."""
    parts = PurePosixPath(name).parts
    if parts[:1] != (RESULTS,) or len(parts) < 3:
        return ""
    return f"; there is none yet, so train the study {parts[1]} first"


def _of_folder(folder: Path) -> Start:
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise UserError(
                f"{KEY}: found no {name} in the folder {folder.as_posix()!r}, expected a "
                f"checkpoint in transformers' layout ({CONFIG} and one {WEIGHTS})"
            )
    return Start(folder.as_posix(), {"sha256": remembered_sha256(folder / WEIGHTS)})


def _of_hub(name: str, revision: str, shape: Shape, counts: Counts) -> Start:
    commit = hub.commit_of(name, revision, (KEY, KEY), kind="model")
    where = f"{name}@{commit[:12]}"
    if not hub.has_file(name, commit, WEIGHTS):
        raise UserError(f"{KEY}: found no {WEIGHTS} in {where}, expected one file of weights")
    _check(_config(hub.file_of(name, commit, CONFIG, KEY)), where, shape, counts)
    return Start(name, {"commit": commit})


def _config(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{KEY}: {path}: expected a configuration in JSON, but {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"{KEY}: {path}: found {shown(found)}, expected a configuration in JSON")
    return found


def _check(config: dict[str, Any], where: str, shape: Shape, counts: Counts) -> None:
    """Raise `UserError` where a configuration is of another model than the run's."""
    wanted: dict[str, Any] = {
        "width": shape.width,
        "depth": shape.depth,
        "heads": shape.heads,
        # Of families with tokens beside the vocabulary these included.
        "vocabulary": counts.token_embedding // shape.width,
    }
    if counts.position_embedding:  # else positions have no weights, and any context will do
        wanted["context"] = shape.context
    found = {
        key: next((config[name] for name in NAMES[key] if name in config), None) for key in wanted
    }
    pairs = [("model_type", config.get("model_type"), exported_type(shape.family))]
    pairs += [(key, found[key], value) for key, value in wanted.items()]
    for key, has, needs in pairs:
        if None not in (has, needs) and has != needs:
            raise UserError(
                f"{KEY}: found {where} with the {key} {shown(has)}, expected {shown(needs)}, that "
                "of the run"
            )
