"""GPT-2 (Radford et al. 2019): pre-norm blocks, learned positions, GELU, tied embeddings.

Exports to transformers' GPT2LMHeadModel. Shape suffixes: B sequences, T tokens, D width.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from scalelab.models.layers.attention import causal_attention
from scalelab.models.layers.documents import restarts
from scalelab.models.layers.head import all_logits, head_loss, head_losses
from scalelab.models.layers.sublayers import attention_half, mlp_half
from scalelab.models.registry import Family, LanguageModel, register
from scalelab.plan.families import Shape

REFERENCE_WIDTH = 768
REFERENCE_STD = 0.02


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x))."""

    def __init__(self, width: int, heads: int, scale: float) -> None:
        super().__init__()
        self.heads, self.scale = heads, scale
        self.norm_1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.norm_2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(
        self,
        x_BTD: torch.Tensor,
        by_hand: torch.dtype | None = None,
        seen_BTT: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(B, T, D) to (B, T, D); `by_hand`: with the gradients of `sublayers`, in that dtype.

        seen: which tokens see which; None: all before them.
        """
        if by_hand is not None:
            x_BTD = attention_half(
                *(x_BTD, self.norm_1, self.qkv, self.mix, self.heads, self.scale, by_hand, seen_BTT)
            )
            return mlp_half(x_BTD, self.norm_2, self.up, self.down, by_hand)
        mixed = causal_attention(self.qkv(self.norm_1(x_BTD)), self.heads, self.scale, seen_BTT)
        x_BTD = x_BTD + self.mix(mixed)
        inner = F.gelu(self.up(self.norm_2(x_BTD)), approximate="tanh")
        return x_BTD + self.down(inner)  # type: ignore[no-any-return]


class GPT2(LanguageModel):
    """Token and position embedding, blocks, final norm; the head is the token embedding."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.tokens = nn.Embedding(shape.vocab, shape.width)
        self.positions = nn.Embedding(shape.context, shape.width)
        self.blocks = nn.ModuleList(
            Block(shape.width, shape.heads, attention_scale(shape)) for _ in range(shape.depth)
        )
        self.norm = nn.LayerNorm(shape.width)
        self.head_dtype = torch.float32
        self.shape, self.logit_scale = shape, logit_scale(shape)

    def hidden(self, inputs_BT: torch.Tensor) -> torch.Tensor:
        """Final hidden states, (B, T, D), scaled as muP scales the logits."""
        time = inputs_BT.shape[1]
        if time > self.positions.num_embeddings:
            raise ValueError(
                f"{time} tokens, but the model has positions for {self.positions.num_embeddings}"
            )
        if self.separator is None:
            x_BTD = self.tokens(inputs_BT) + self.positions.weight[:time]
            for block in self.blocks:
                x_BTD = block(x_BTD, self.by_hand)
        else:
            positions_BT, seen_BTT = restarts(inputs_BT, self.separator)
            x_BTD = self.tokens(inputs_BT) + self.positions(positions_BT)
            for block in self.blocks:
                x_BTD = block(x_BTD, self.by_hand, seen_BTT)
        x_BTD = self.norm(x_BTD)
        return x_BTD if self.logit_scale == 1 else x_BTD * self.logit_scale

    def forward(self, inputs_BT: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:
        """Summed loss in nats."""
        hidden = self.hidden(inputs_BT)
        return head_loss(hidden, self.tokens.weight, targets_BT, self.head_dtype)

    def predictions(self, inputs_BT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits, (B, T, V), and no penalty."""
        return all_logits(self.hidden(inputs_BT), self.tokens.weight), None

    def losses(self, inputs_BT: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:
        """Loss in nats by token, (B, T)."""
        return head_losses(self.hidden(inputs_BT), self.tokens.weight, targets_BT)


def attention_scale(shape: Shape) -> float:
    """What products of queries and keys are multiplied by: 1 / sqrt(K), K the width of a head.

    With muP sqrt(K_base) / K (Yang et al. 2022, definition 4.1: 1 / K, and the same at the base).
    """
    head = shape.width / shape.heads
    if not shape.mup_base:
        return float(head**-0.5)
    return float((shape.mup_base / shape.heads) ** 0.5 / head)


def logit_scale(shape: Shape) -> float:
    """base / width with muP (Yang et al. 2022, table 8, for a head tied to the embedding)."""
    return shape.mup_base / shape.width if shape.mup_base else 1.0


def initialise(model: LanguageModel, generator: torch.Generator) -> None:
    """GPT-2's normal initialisation (std 0.02 at width 768), std falling as 1/sqrt(width).

    Projections into the residual stream are divided by sqrt(2 L) as in the paper (section 2.3);
    biases are 0 and norms are 1. With muP embeddings keep the std of the base width.
    """
    assert isinstance(model, GPT2)
    shape = model.shape
    std = REFERENCE_STD * math.sqrt(REFERENCE_WIDTH / shape.width)
    embedding = REFERENCE_STD * math.sqrt(REFERENCE_WIDTH / (shape.mup_base or shape.width))
    residual = std / math.sqrt(2 * shape.depth)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            into_residual = name.endswith(("mix.weight", "down.weight"))
            embeds = name in ("tokens.weight", "positions.weight")
            scale = residual if into_residual else embedding if embeds else std
            nn.init.normal_(parameter, std=scale, generator=generator)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)


def factors(shape: Shape) -> dict[str, torch.Tensor]:
    """What the scales of muP multiply in the weights of GPT2LMHeadModel, which has none of them.

    Queries take the scale of attention, the final norm that of the logits.
    """
    if not shape.mup_base:
        return {}
    queries = torch.ones(3 * shape.width)
    queries[: shape.width] = attention_scale(shape) * math.sqrt(shape.width / shape.heads)
    logits = torch.tensor(logit_scale(shape))
    names = [f"transformer.h.{place}.attn.c_attn" for place in range(shape.depth)]
    attention = {f"{name}.{kind}": queries for name in names for kind in ("weight", "bias")}
    return {**attention, **{f"transformer.ln_f.{kind}": logits for kind in ("weight", "bias")}}


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


register("gpt2", Family(GPT2, initialise, config, state, factors, documents=True, by_hand=True))
