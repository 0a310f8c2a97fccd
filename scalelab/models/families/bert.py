"""BERT (Devlin et al. 2019): blocks with norms after them, that see both sides. Masked tokens are
predicted; there is no second task. Trains and exports transformers' BertForMaskedLM.

Shape suffixes: B sequences, T tokens, V vocabulary.
"""

import math
from functools import partial
from typing import Any

import torch
from torch import nn

from scalelab.models.corruption import IGNORED
from scalelab.models.families.gpt2 import REFERENCE_STD, REFERENCE_WIDTH
from scalelab.models.registry import Family, register
from scalelab.models.wrapped import Wrapped, described, initialise, state
from scalelab.plan.families import Shape
from scalelab.plan.families.bert import EXTRA, SEGMENTS


class Bert(Wrapped):
    """BertForMaskedLM whose head computes the hidden tokens alone."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, partial(_make, shape))

    @property
    def blocks(self) -> nn.ModuleList:
        """The layers of the encoder."""
        return self.inner.bert.encoder.layer  # type: ignore[no-any-return]

    def predicted(self, inputs_BT: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:
        """Logits (n, V + 1) of the hidden tokens."""
        hidden_BTD = self.inner.bert(input_ids=inputs_BT).last_hidden_state
        return self.inner.cls(hidden_BTD[targets_BT != IGNORED])  # type: ignore[no-any-return]


def _settings(shape: Shape) -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=shape.vocab + EXTRA,
        hidden_size=shape.width,
        num_hidden_layers=shape.depth,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.width,
        max_position_embeddings=shape.context,
        type_vocab_size=SEGMENTS,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=REFERENCE_STD * math.sqrt(REFERENCE_WIDTH / shape.width),
        pad_token_id=None,
    )


def _make(shape: Shape) -> Any:
    from transformers import BertForMaskedLM

    return BertForMaskedLM(_settings(shape))


def config(shape: Shape) -> dict[str, Any]:
    """config.json of a BertForMaskedLM."""
    return described(_settings(shape), "BertForMaskedLM")


register("bert", Family(Bert, initialise, config, state, special=lambda shape: ["[MASK]"]))
