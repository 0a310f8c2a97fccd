"""Held-out losses of models that read both sides of what they predict: other quantities than that
of a causal model (`scalelab.plan.objectives`), each of its own.

Shape suffixes: B sequences, T tokens, P predicted tokens.
"""

import numpy as np
import torch

from scalelab.errors import UserError
from scalelab.evaluation.perplexity import BATCH_TOKENS
from scalelab.models import LanguageModel
from scalelab.models.corruption import IGNORED, cut
from scalelab.seeds import stream

SCORED_TOKENS = 8192
"""Tokens whose pseudo-loss is taken, at most: each takes a pass over its window."""


def pseudo_losses(
    model: LanguageModel, tokens: np.ndarray, context: int, mask: int
) -> tuple[np.ndarray, np.ndarray]:
    """Places that are scored and the loss at each, both (n,), nats in float64.

    One token at a time is masked (Salazar et al. 2020, arXiv:1910.14659, eq. 1) in its window of
    `context` tokens; windows lie side by side, the last one ends with the text. At most
    SCORED_TOKENS are taken, evenly apart; the separator that starts the text is none of them. Their
    mean is the logarithm of the pseudo-perplexity (eq. 3 there).
    """
    size = min(context, len(tokens))
    taken = min(SCORED_TOKENS, len(tokens) - 1)
    places = np.unique(np.linspace(1, len(tokens) - 1, taken).round().astype(np.int64))
    starts = np.minimum(places // size * size, len(tokens) - size)
    out = np.empty(len(places), dtype=np.float64)
    many = max(1, BATCH_TOKENS // size)
    for first in range(0, len(places), many):
        part = slice(first, first + many)
        ids_BT = tokens[starts[part, None] + np.arange(size)].astype(np.int64)
        at = np.arange(len(ids_BT)), places[part] - starts[part]
        targets_BT = np.full(ids_BT.shape, IGNORED)
        targets_BT[at] = ids_BT[at]
        ids_BT[at] = mask
        out[part] = _losses(model, ids_BT, targets_BT).sum(axis=1)
    return places, out


def conditional_losses(
    model: LanguageModel, tokens: np.ndarray, context: int, vocab: int
) -> tuple[np.ndarray, np.ndarray]:
    """Places that are scored and the loss at each, both (n,), nats in float64.

    Blocks of `context` tokens side by side have spans cut out, the same for all models; the tokens
    of the spans are scored, each given the rest of the block and the spans before it. What stands
    for a span is given, and has no loss here.

    Raises:
        UserError: the text is shorter than a block.
    """
    blocks = len(tokens) // context
    if not blocks:
        raise UserError(
            f"found {len(tokens)} held-out tokens, expected the {context} of a block or more; "
            "raise corpus.test_tokens"
        )
    places_BT = np.arange(blocks * context).reshape(blocks, context)
    ids_BT = np.asarray(tokens[: blocks * context], dtype=np.int64).reshape(blocks, context)
    seed = stream(0, "hidden tokens of held-out text")
    inputs, targets_BP = cut(ids_BT, vocab, np.random.default_rng(seed))
    _, at_BP = cut(places_BT, len(tokens), np.random.default_rng(seed))
    losses_BP = np.empty(targets_BP.shape, dtype=np.float64)
    many = max(1, BATCH_TOKENS // context)
    for first in range(0, blocks, many):
        part = slice(first, first + many)
        losses_BP[part] = _losses(model, inputs[part], targets_BP[part])
    text_BP = targets_BP < vocab
    return at_BP[text_BP], losses_BP[text_BP]


def _losses(model: LanguageModel, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    device = next(model.parameters()).device
    model.eval()
    with torch.inference_mode():
        found = model.losses(
            torch.from_numpy(inputs).to(device), torch.from_numpy(targets).to(device)
        )
    return np.asarray(found.cpu().double().numpy())
