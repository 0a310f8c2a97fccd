"""T5 (Raffel et al. 2020): an encoder of text with spans cut out, a decoder that writes the spans.

Trains and exports transformers' T5ForConditionalGeneration: norms without means before each half of
a block, ReLU, relative positions, a tied head. Shape suffixes: B sequences, R tokens that are read,
P that are predicted, V vocabulary with the tokens that stand for spans.
"""

from functools import partial
from typing import Any

import torch
from torch import nn

from scalelab.models.registry import Family, register
from scalelab.models.wrapped import Wrapped, described, initialise, state
from scalelab.plan.families import Shape
from scalelab.plan.families.t5 import BUCKETS, extra_tokens

START = 0
"""What the decoder sees before its first token: the separator of documents."""


class T5(Wrapped):
    """T5ForConditionalGeneration, whose decoder is given the targets before each."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, partial(_make, shape))

    @property
    def blocks(self) -> nn.ModuleList:
        """The blocks of the encoder, then those of the decoder."""
        return nn.ModuleList([*self.inner.encoder.block, *self.inner.decoder.block])

    def predicted(self, inputs_BT: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:
        """Logits (B P, V) of all targets."""
        before = torch.cat([torch.full_like(targets_BT[:, :1], START), targets_BT[:, :-1]], dim=1)
        found = self.inner(input_ids=inputs_BT, decoder_input_ids=before, use_cache=False)
        return found.logits.flatten(0, 1)  # type: ignore[no-any-return]


def _settings(shape: Shape) -> Any:
    from transformers import T5Config

    vocab = shape.vocab + extra_tokens(shape.context)
    values: dict[str, Any] = {
        "vocab_size": vocab,
        "d_model": shape.width,
        "d_kv": shape.width // shape.heads,
        "d_ff": 4 * shape.width,
        "num_layers": shape.depth,
        "num_heads": shape.heads,
        "relative_attention_num_buckets": BUCKETS,
        "dropout_rate": 0.0,
        "pad_token_id": START,
        "decoder_start_token_id": START,
        "eos_token_id": vocab - 1,
    }
    return T5Config(**values)


def _make(shape: Shape) -> Any:
    from transformers import T5ForConditionalGeneration

    return T5ForConditionalGeneration(_settings(shape))


def config(shape: Shape) -> dict[str, Any]:
    """config.json of a T5ForConditionalGeneration."""
    return described(_settings(shape), "T5ForConditionalGeneration")


def _special(shape: Shape) -> list[str]:
    return [f"<extra_id_{number}>" for number in range(extra_tokens(shape.context))]


register("t5", Family(T5, initialise, config, state, special=_special))
