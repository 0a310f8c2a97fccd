"""GPT-2 (Radford et al. 2019): pre-norm blocks, learned positions, GELU, tied embeddings.

Exports to transformers' GPT2LMHeadModel. Shape suffixes: B sequences, T tokens, D width.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from scalelab.models.layers import causal_attention, head_loss, head_losses
from scalelab.models.registry import Family, LanguageModel, register
from scalelab.plan.families import Shape

REFERENCE_WIDTH = 768
REFERENCE_STD = 0.02


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x))."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.norm_2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """(B, T, D) to (B, T, D)."""
        x_BTD = x_BTD + self.mix(causal_attention(self.qkv(self.norm_1(x_BTD)), self.heads))
        inner = F.gelu(self.up(self.norm_2(x_BTD)), approximate="tanh")
        return x_BTD + self.down(inner)  # type: ignore[no-any-return]


class GPT2(LanguageModel):
    """Token and position embedding, blocks, final norm; the head is the token embedding."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.tokens = nn.Embedding(shape.vocab, shape.width)
        self.positions = nn.Embedding(shape.context, shape.width)
        self.blocks = nn.ModuleList(Block(shape.width, shape.heads) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.width)
        self.head_dtype = torch.float32

    def hidden(self, inputs_BT: torch.Tensor) -> torch.Tensor:
        """Final hidden states, (B, T, D)."""
        time = inputs_BT.shape[1]
        if time > self.positions.num_embeddings:
            raise ValueError(
                f"{time} tokens, but the model has positions for {self.positions.num_embeddings}"
            )
        x_BTD = self.tokens(inputs_BT) + self.positions.weight[:time]
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return self.norm(x_BTD)  # type: ignore[no-any-return]

    def forward(self, inputs_BT: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:
        """Summed loss in nats."""
        hidden = self.hidden(inputs_BT)
        return head_loss(hidden, self.tokens.weight, targets_BT, self.head_dtype)

    def losses(self, inputs_BT: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:
        """Loss in nats by token, (B, T)."""
        return head_losses(self.hidden(inputs_BT), self.tokens.weight, targets_BT)


def initialise(model: LanguageModel, generator: torch.Generator) -> None:
    """GPT-2's normal initialisation (std 0.02 at width 768), std falling as 1/sqrt(width).

    Projections into the residual stream are divided by sqrt(2 L) as in the paper (section 2.3);
    biases are 0 and norms are 1.
    """
    assert isinstance(model, GPT2)
    std = REFERENCE_STD * math.sqrt(REFERENCE_WIDTH / model.tokens.embedding_dim)
    residual = std / math.sqrt(2 * len(model.blocks))
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            into_residual = name.endswith(("mix.weight", "down.weight"))
            scale = residual if into_residual else std
            nn.init.normal_(parameter, std=scale, generator=generator)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)


def config(shape: Shape) -> dict[str, Any]:
    """config.json of a GPT2LMHeadModel."""
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "n_embd": shape.width,
        "n_layer": shape.depth,
        "n_head": shape.heads,
        "n_positions": shape.context,
        "vocab_size": shape.vocab,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "dtype": "float32",
    }


def state(model: LanguageModel) -> dict[str, torch.Tensor]:
    """Weights under GPT2LMHeadModel's names; its linear layers store the transpose."""
    assert isinstance(model, GPT2)
    out = {
        "transformer.wte.weight": model.tokens.weight,
        "transformer.wpe.weight": model.positions.weight,
        "transformer.ln_f.weight": model.norm.weight,
        "transformer.ln_f.bias": model.norm.bias,
    }
    for index, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        linear = {
            "attn.c_attn": block.qkv,
            "attn.c_proj": block.mix,
            "mlp.c_fc": block.up,
            "mlp.c_proj": block.down,
        }
        for name, layer in linear.items():
            out[f"transformer.h.{index}.{name}.weight"] = layer.weight.T
            out[f"transformer.h.{index}.{name}.bias"] = layer.bias
        for name, norm in {"ln_1": block.norm_1, "ln_2": block.norm_2}.items():
            out[f"transformer.h.{index}.{name}.weight"] = norm.weight
            out[f"transformer.h.{index}.{name}.bias"] = norm.bias
    return out


register("gpt2", Family(GPT2, initialise, config, state))
