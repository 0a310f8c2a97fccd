"""Text that a model writes after beginnings, with a cache of keys and values and many at once.

Shape suffixes: W windows, T tokens.
"""

import numpy as np
import torch

from scalelab.evaluation.measures import Subject, batches
from scalelab.seeds import stream

WRITE_TOKENS = 8192
"""Tokens of beginnings at once."""


def write(subject: Subject, given_WT: np.ndarray, more: int, draw: bool) -> np.ndarray:
    """`more` ids after each beginning, (W, more): the likeliest, or drawn from the probabilities.

    The separator is left out. Random numbers of the caller are as they were afterwards.
    """
    model, parts = subject.model, []
    device = next(model.parameters()).device
    how = {"top_k": 0, "top_p": 1.0, "temperature": 1.0} if draw else {}
    devices = [device] if device.type == "cuda" else []
    with torch.inference_mode(), torch.random.fork_rng(devices):
        torch.manual_seed(stream(subject.seed, "generation-drawn"))
        for batch in batches(given_WT, WRITE_TOKENS):
            ids = batch.to(device)
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=draw,
                use_cache=True,
                max_new_tokens=more,
                suppress_tokens=[subject.separator],
                pad_token_id=subject.separator,
                **how,
            )
            parts.append(out[:, ids.shape[1] :].cpu().numpy())
    return np.concatenate(parts)
