"""The weights that a run starts from in place of random ones (`training.init`)."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer

from scalelab.errors import UserError, first_line
from scalelab.files import file_sha256
from scalelab.models.registry import LanguageModel, get, load_weights
from scalelab.plan.families import Shape
from scalelab.sums import check_checkpoint

KEY = "training.init"
WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"


def open_start(
    spec: dict[str, Any], place: str | None, corpus_folder: Path
) -> Callable[[LanguageModel], None] | None:
    """What fills a new model with the checkpoint at a place; None where weights are drawn.

    place: a folder, or the name of a model on the hub.

    Raises:
        UserError: the specification asks for another checkpoint or for none, the checkpoint cannot
            be had, or its tokenizer is not that of the corpus.
    """
    wanted = spec["training"].get("init")
    if (wanted is None) != (place is None):
        what = "none, since the run starts from random weights" if wanted is None else str(wanted)
        raise UserError(f"--init: found {place or 'none'}, expected {what}")
    if wanted is None or place is None:
        return None
    folder = Path(place) if "commit" not in wanted else _of_hub(place, wanted["commit"])
    path = folder / WEIGHTS
    try:
        found = None if "commit" in wanted else file_sha256(path)
    except OSError as error:
        raise UserError(f"--init: {path} cannot be read ({error.strerror})") from None
    if found != wanted.get("sha256"):
        raise UserError(
            f"--init: found weights with the SHA-256 {found} in {path}, expected "
            f"{wanted['sha256']}, that of the run's specification"
        )
    _check_tokenizer(folder / TOKENIZER, corpus_folder / TOKENIZER, spec["model"]["vocab"])
    return partial(fill, shape=Shape(**spec["model"]), path=path)


def fill(model: LanguageModel, shape: Shape, path: Path) -> None:
    """Take the weights of a file under the names of the family's class of transformers.

    Files of a base model leave out the first part of these names (`wte.weight` of
    `transformer.wte.weight`).

    Raises:
        UserError: no such weights, or weights of another model.
    """
    check_checkpoint(path.parent)
    try:
        weights = load_file(path)
        names = get(shape.family).state(model)
        short = {name: name.partition(".")[2] for name in names}
        found = {name: weights.get(name, weights.get(short[name])) for name in names}
        load_weights(model, shape, {name: w for name, w in found.items() if w is not None})
    except (OSError, SafetensorError) as error:
        raise UserError(f"{KEY}: {path}: expected weights, but {first_line(error)}") from None
    except UserError as error:
        raise UserError(f"{KEY}: {path}: {error}") from None


def _of_hub(name: str, commit: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        files = [WEIGHTS, TOKENIZER]
        return Path(snapshot_download(name, revision=commit, allow_patterns=files))
    except Exception as error:  # of the hub, of httpx, of the file system
        raise UserError(
            f"{KEY}: {name}@{commit[:12]} is not in the cache and cannot be fetched "
            f"({first_line(error)})"
        ) from None


def _check_tokenizer(own: Path, of_corpus: Path, vocab: int) -> None:
    """Raise `UserError` where a checkpoint has other tokens than the corpus under the same ids."""
    if not own.is_file():
        return
    before, now = (_tokens(path, vocab) for path in (own, of_corpus))
    differ = sum(before.get(place) != now.get(place) for place in {*before, *now})
    if differ:
        raise UserError(
            f"{KEY}: found {differ:,} of {max(len(before), len(now)):,} ids with other tokens in "
            f"{own} than in the corpus, expected the same vocabulary; give corpus.tokenizer: {own}"
        )


def _tokens(path: Path, vocab: int) -> dict[int, str]:
    """Tokens by id, without those that a family has beside the vocabulary."""
    try:
        known = Tokenizer.from_file(str(path)).get_vocab()
    except Exception as error:  # the library raises plain exceptions
        raise UserError(f"{KEY}: {path}: expected a tokenizer, but {first_line(error)}") from None
    return {place: token for token, place in known.items() if place < vocab}
