"""Which tokens each step sees: one epoch over blocks of the training split, in a seeded order."""

import numpy as np
import torch

from scalelab.errors import UserError
from scalelab.seeds import stream


class Batches:
    """Blocks of `context` tokens, shuffled once; step k takes the k-th group of them.

    The order depends on the seed and on the corpus alone, so two sizes with one seed see the same
    text, a shorter run sees a prefix of a longer one, and step k can be found without the steps
    before it (which is all that resuming needs).
    """

    def __init__(self, tokens: np.ndarray, context: int, batch_tokens: int, seed: int) -> None:
        self.tokens, self.context = tokens, context
        self.sequences = batch_tokens // context
        blocks = (len(tokens) - 1) // context
        generator = np.random.default_rng(stream(seed, "data order"))
        self.order = generator.permutation(blocks)
        self.offsets = np.arange(context + 1)

    def require(self, steps: int) -> None:
        """Raise `UserError` when the corpus is too small for a single epoch of `steps` steps."""
        need = steps * self.sequences
        if need > len(self.order):
            raise UserError(
                f"the run wants {need * self.context:,} training tokens, but the corpus has "
                f"{len(self.order) * self.context:,} for a single epoch; lower the tokens or give "
                "the corpus more text"
            )

    def step(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of a step, int64, each (sequences, context)."""
        part = self.order[step * self.sequences : (step + 1) * self.sequences]
        rows = self.tokens[part[:, None] * self.context + self.offsets].astype(np.int64)
        both = torch.from_numpy(rows)
        return both[:, :-1].contiguous(), both[:, 1:].contiguous()
