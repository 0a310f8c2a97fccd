"""Sparse mixture of experts on the block of Llama (Mixtral, Jiang et al. 2024).

The MLP of a block is several experts, of which a router chooses a few for each token; a balance
loss keeps them in use. Exports to transformers' MixtralForCausalLM. Shape suffixes: B sequences, T
tokens, D width.
"""

from typing import Any

import torch
from torch import nn

from scalelab.models.decoder import Decoder
from scalelab.models.families.llama import EPS, Attention, common_config, decoder, state
from scalelab.models.layers.experts import BALANCE, Experts
from scalelab.models.layers.initial import draw
from scalelab.models.registry import Family, LanguageModel, register
from scalelab.plan.families import Shape


class Block(nn.Module):
    """x + attention(norm(x)), then x + experts(norm(x))."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm_1 = nn.RMSNorm(shape.width, EPS)
        self.attention = Attention(shape)
        self.norm_2 = nn.RMSNorm(shape.width, EPS)
        options = (shape.option(name) for name in ("inner", "experts", "active_experts"))
        self.experts = Experts(shape.width, *options)

    def forward(
        self,
        x_BTD: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        seen_BTT: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, T, D) to (B, T, D), and the balance loss."""
        x_BTD = x_BTD + self.attention(self.norm_1(x_BTD), cos, sin, seen_BTT)
        mixed, penalty = self.experts(self.norm_2(x_BTD))
        return x_BTD + mixed, penalty

    def state(self) -> dict[str, torch.Tensor]:
        """Weights under the names of a Mixtral layer's checkpoint."""
        out = {
            "input_layernorm.weight": self.norm_1.weight,
            **self.attention.state(),
            "post_attention_layernorm.weight": self.norm_2.weight,
            "block_sparse_moe.gate.weight": self.experts.router.weight,
        }
        for place, (up, down) in enumerate(zip(self.experts.up, self.experts.down, strict=True)):
            gate, inner = up.chunk(2)
            name = f"block_sparse_moe.experts.{place}"
            out |= {
                f"{name}.w1.weight": gate,
                f"{name}.w3.weight": inner,
                f"{name}.w2.weight": down,
            }
        return out


def build(shape: Shape) -> LanguageModel:
    """A mixture of experts."""
    return decoder(shape, [Block(shape) for _ in range(shape.depth)])


def initialise(model: LanguageModel, generator: torch.Generator) -> None:
    """GPT-2's initialisation (`layers.initial`)."""
    assert isinstance(model, Decoder)
    names = ("mix.weight", "experts.down")
    draw(model, model.shape.width, model.shape.depth, names, generator)


def config(shape: Shape) -> dict[str, Any]:
    """config.json of a MixtralForCausalLM."""
    return {
        "architectures": ["MixtralForCausalLM"],
        "model_type": "mixtral",
        "num_local_experts": shape.option("experts"),
        "num_experts_per_tok": shape.option("active_experts"),
        "router_aux_loss_coef": BALANCE,
        "sliding_window": None,
        **common_config(shape),
    }


register("moe", Family(build, initialise, config, state, documents=True))
