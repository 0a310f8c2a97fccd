"""What models hold beside their loss: a module here that uses `@measure` is found by its name.

A measure sees a checkpoint as others open it (transformers), so it serves every family that is
exported, and windows of held-out text. Shape suffixes: W windows, T tokens, V vocabulary.
"""

import importlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scalelab.errors import UserError

FEWEST = 8
"""Windows that a standard error is made of, at least."""
BATCH_TOKENS = 2048
"""Tokens at once: logits of all of them are held."""
FINAL_NORMS = (
    *("transformer.ln_f", "model.norm", "model.final_layernorm"),
    *("gpt_neox.final_layer_norm", "model.decoder.final_layer_norm"),
)
"""Where families of transformers keep the norm before the head."""


class NotMeasured(Exception):
    """Why a run cannot be measured: its result then has this reason."""


@dataclass(frozen=True)
class Estimate:
    """A mean over windows and its standard error, or a number without one."""

    value: float
    se: float | None = None


@dataclass(frozen=True)
class Planted:
    """Secrets planted in the training split (`scalelab.corpus.canaries`)."""

    canaries: list[dict[str, Any]]
    """As the manifest has them: before, secret, after, repeats."""
    space: int
    """How many secrets there are."""
    seen: np.ndarray
    """How often the run was trained on each of them whole, (canaries,)."""
    encode: Callable[[list[str]], Iterator[np.ndarray]]
    """Texts to ids."""


def without_canaries() -> Planted:
    """What a corpus without canaries answers: `NotMeasured`."""
    raise NotMeasured("the corpus has no canaries (see corpus.canaries)")


Work = Callable[[Any, Any], Any]
"""A function of a module: of a model and one part of what is asked of it, to be sent about."""


def in_turn(model: Any, work: Work, parts: Sequence[Any]) -> list[Any]:
    """`work(model, part)` of each part, by this process."""
    return [work(model, part) for part in parts]


@dataclass(frozen=True)
class Subject:
    """A trained model and what it is asked about."""

    model: Any
    """A causal model of transformers, with attention that gives its weights."""
    windows: np.ndarray
    """Held-out text, (W, T + 1): the separator, then a document's first tokens."""
    blocks: Callable[[bool], np.ndarray]
    """Blocks of the training split, (W, T + 1), that the run has seen, or has not."""
    known: np.ndarray
    """Ids that the held-out text holds, sorted."""
    separator: int
    seed: int
    decode: Callable[[Iterable[np.ndarray]], list[str]] | None = None
    """Texts of rows of ids; None where the model writes none with a cache."""
    planted: Callable[[], Planted] = without_canaries
    """The canaries of the corpus."""
    texts: Callable[[], list[str]] | None = None
    """Held-out documents up to their first gap, in their order; None as for `decode`."""
    folder: Path | None = None
    """The checkpoint."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the plan says of the measure (`scalelab.plan.measures`)."""
    spread: Callable[[Any, Work, Sequence[Any]], list[Any]] = in_turn
    """As `in_turn`, by as many processes as asked for (`scalelab.evaluation.spread`)."""

    @property
    def context(self) -> int:
        """T, tokens that the model reads at once."""
        return int(self.windows.shape[1]) - 1

    @property
    def seen(self) -> np.ndarray:
        """Blocks that the run was trained on."""
        return self._enough(seen=True)

    @property
    def unseen(self) -> np.ndarray:
        """Blocks that the run would have seen next, had it gone on."""
        return self._enough(seen=False)

    def _enough(self, seen: bool) -> np.ndarray:
        found = self.blocks(seen)
        if len(found) < FEWEST:
            which = "saw" if seen else "did not see"
            raise NotMeasured(
                f"{len(found)} blocks of the training split that the run {which}, expected "
                f"{FEWEST} or more"
            )
        return found


Make = Callable[[Subject], Mapping[str, Estimate]]
_measures: dict[str, Make] = {}


def measure(make: Make) -> Make:
    """Register a function (subject) -> estimates by name, under the name of its module."""
    _measures[make.__module__.rpartition(".")[2]] = make
    return make


def get(name: str) -> Make:
    """The measure of that name, which a plan has found to be there (`scalelab.plan.measures`)."""
    importlib.import_module(f"scalelab.evaluation.measures.{name}")
    return _measures[name]


def batches(ids: np.ndarray, tokens: int = BATCH_TOKENS) -> Iterator[torch.Tensor]:
    """Rows of (W, T) ids, as many at once as make up about `tokens`."""
    size = max(1, tokens // ids.shape[1])
    for first in range(0, len(ids), size):
        yield torch.from_numpy(ids[first : first + size].astype(np.int64))


def logits_of(subject: Subject, ids_WT: torch.Tensor, **wanted: bool) -> Any:
    """What the model gives for ids, with fp32 `logits` (W, T, V); `wanted` as transformers says."""
    device = next(subject.model.parameters()).device
    with torch.inference_mode():
        return subject.model(ids_WT.to(device), use_cache=False, **wanted)


def losses_of(logits_WTV: torch.Tensor, targets_WT: torch.Tensor) -> np.ndarray:
    """Nats of each target, float64 (W, T)."""
    targets = targets_WT.to(logits_WTV.device)
    flat = torch.nn.functional.cross_entropy(
        logits_WTV.float().flatten(0, 1), targets.flatten(), reduction="none"
    )
    return flat.view(targets.shape).cpu().double().numpy()


def mean_of(values: np.ndarray) -> Estimate:
    """Mean of one number a window (W,); windows are the independent draws."""
    error = float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None
    return Estimate(float(values.mean()), error)


def final_norm(model: Any) -> Any:
    """The norm between the last layer and the head."""
    for path in FINAL_NORMS:
        found: Any = model
        for part in path.split("."):
            found = getattr(found, part, None)
        if found is not None:
            return found
    raise UserError(f"{type(model).__name__}: expected a norm before its head, such as {path}")
