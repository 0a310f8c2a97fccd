"""Which tokens each step sees: blocks of the training split, in a seeded order."""

from typing import Any

import numpy as np
import torch

from scalelab.errors import UserError
from scalelab.models.corruption import corrupted
from scalelab.plan.families import Shape, objective
from scalelab.plan.objectives import CAUSAL, Objective, predicted_tokens
from scalelab.seeds import stream

AHEAD_TOKENS = 1 << 16
"""Tokens that are read at once, so that small steps do not each pay for the call."""


class Batches:
    """Blocks of `context` tokens, shuffled; step k takes the k-th group of them.

    The order depends on the seed and on the corpus alone, so two sizes with one seed see the same
    text, a shorter run sees a prefix of a longer one, and step k can be found without the steps
    before it (which is all that resuming needs). With `unique_tokens` the first blocks of that
    order, as many as make U, are all that is seen, in a new order each epoch (Muennighoff et al.
    2023, section 3); the first epoch is that of a run without repeats.
    """

    def __init__(
        self,
        tokens: np.ndarray,
        context: int,
        batch_tokens: int,
        seed: int,
        unique_tokens: int | None = None,
    ) -> None:
        self.tokens, self.context, self.seed = tokens, context, seed
        self.sequences = batch_tokens // context
        blocks = (len(tokens) - 1) // context
        generator = np.random.default_rng(stream(seed, "data order"))
        self.order = generator.permutation(blocks)
        self.unique = None if unique_tokens is None else unique_tokens // context
        self.offsets = np.arange(context + 1)
        self.epochs: dict[int, np.ndarray] = {}
        self.ahead = max(AHEAD_TOKENS // batch_tokens, 1)
        self.read = -1
        self.rows = torch.empty(0, dtype=torch.int64)

    @property
    def predicted(self) -> int:
        """Tokens of a step whose loss is taken."""
        return self.sequences * self.context

    @property
    def pool(self) -> np.ndarray:
        """The blocks that a run of any length sees."""
        return self.order[: self.unique]

    def require(self, steps: int) -> None:
        """Raise `UserError` when the corpus has fewer distinct tokens than `steps` steps need."""
        need = min(steps * self.sequences, self.unique or steps * self.sequences)
        if need > len(self.order):
            raise UserError(
                f"the run wants {need * self.context:,} training tokens, but the corpus has "
                f"{len(self.order) * self.context:,} for a single epoch; lower the tokens to that, "
                "give the corpus more text, or set training.unique_tokens to repeat it"
            )

    def step(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of a step, int64, each (sequences, context)."""
        first = step - step % self.ahead
        if self.read != first:
            part = self._blocks(first * self.sequences, (first + self.ahead) * self.sequences)
            rows = self.tokens[part[:, None] * self.context + self.offsets].astype(np.int64)
            self.read, self.rows = first, torch.from_numpy(rows)
        start = (step - first) * self.sequences
        both = self.rows[start : start + self.sequences]
        return both[:, :-1].contiguous(), both[:, 1:].contiguous()

    def views(self, blocks: int) -> np.ndarray:
        """How often each block of the split is among the first `blocks` of all epochs, int64."""
        return np.bincount(self._blocks(0, blocks), minlength=len(self.order) + 1)

    def parted(self, blocks: int) -> tuple[np.ndarray, np.ndarray]:
        """The blocks of the split among the first `blocks` of all epochs, and the others."""
        ended = min(blocks, len(self.pool))
        return self.order[:ended], self.order[ended:]

    def _blocks(self, start: int, end: int) -> np.ndarray:
        """Blocks at places start to end of the sequence of all epochs, (end - start,)."""
        if self.unique is None:
            return self.order[start:end]
        places = np.arange(start, end)
        epochs, within = places // self.unique, places % self.unique
        found = np.empty(end - start, dtype=self.order.dtype)
        for epoch in np.unique(epochs):
            mine = epochs == epoch
            found[mine] = self._epoch(int(epoch))[within[mine]]
        return found

    def _epoch(self, epoch: int) -> np.ndarray:
        """The blocks in the order of an epoch."""
        blocks = self.pool
        if epoch == 0:
            return blocks
        if epoch not in self.epochs:
            generator = np.random.default_rng(stream(self.seed, f"data order, epoch {epoch}"))
            order = generator.permutation(blocks)
            self.epochs = {epoch: order}  # epochs are left one after another
        return self.epochs[epoch]


class Drawn(Batches):
    """Batches of a run with a privacy budget: each block joins each step by itself, with
    probability sequences / blocks.

    That is what accountants of subsampled noise take for granted; a shuffled order can spend more
    than they say (Chua et al. 2024, arXiv:2403.17673). A step has `sequences` blocks on average,
    may have none, and is drawn from (seed, step) alone. With `unique_tokens` blocks are drawn from
    the first ones of the order of a run without a budget.
    """

    def step(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of a step, int64, each (blocks that were drawn, context)."""
        part = self._blocks(step * self.sequences, (step + 1) * self.sequences)
        rows = self.tokens[part[:, None] * self.context + self.offsets].astype(np.int64)
        both = torch.from_numpy(rows)
        return both[:, :-1].contiguous(), both[:, 1:].contiguous()

    def parted(self, blocks: int) -> tuple[np.ndarray, np.ndarray]:
        """Blocks that were drawn in the steps that `blocks` make, and the others."""
        met = self.views(blocks)[self.order] > 0
        return self.order[met], self.order[~met]

    def _blocks(self, start: int, end: int) -> np.ndarray:
        """Blocks of the steps from start to end, both counted in average steps' blocks."""
        steps = range(start // self.sequences, end // self.sequences)
        return np.concatenate([self.order[:0], *map(self._drawn, steps)])

    def _drawn(self, step: int) -> np.ndarray:
        """How many is binomial; given that, all sets of as many are alike."""
        pool = self.pool
        generator = np.random.default_rng(stream(self.seed, f"blocks of step {step}"))
        count = generator.binomial(len(pool), self.sequences / len(pool))
        return pool[generator.choice(len(pool), count, replace=False, shuffle=False)]


class Hidden(Batches):
    """Batches of which a model is to predict hidden tokens, drawn anew each step."""

    def __init__(self, aim: Objective, vocab: int, *settings: Any) -> None:
        super().__init__(*settings)
        self.aim, self.vocab = aim, vocab

    @property
    def predicted(self) -> int:
        """Tokens of a step whose loss is taken."""
        return self.sequences * predicted_tokens(self.aim.name, self.context)

    def step(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of a step, as `scalelab.models.corruption` has them."""
        blocks, _ = super().step(step)
        return corrupted(self.aim.name, blocks, self.vocab, self.seed, f"step {step}")


def batches_for(shape: Shape, recipe: dict[str, Any], seed: int, tokens: np.ndarray) -> Batches:
    """The batches of a run, as its family is to be given them."""
    aim = objective(shape.family)
    settings = tokens, shape.context, recipe["batch_tokens"], seed, recipe.get("unique_tokens")
    if "dp" in recipe:
        return Drawn(*settings)
    return Batches(*settings) if aim is CAUSAL else Hidden(aim, shape.vocab, *settings)
