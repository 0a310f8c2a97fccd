"""Llama (Touvron et al. 2023): RMSNorm, rotary positions, SwiGLU, no biases.

Heads of queries may share keys and values, and the head may be tied. Exports to transformers'
LlamaForCausalLM. Shape suffixes: B sequences, T tokens, D width.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from scalelab.models.decoder import Decoder
from scalelab.models.layers.grouped import attention, split
from scalelab.models.layers.initial import draw
from scalelab.models.layers.rotary import BASE, turn_halves
from scalelab.models.registry import Family, LanguageModel, register
from scalelab.plan.families import Shape

EPS = 1e-6


class Attention(nn.Module):
    """mix(attention) of rotary queries and keys, without biases."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.kv_heads = shape.heads, shape.option("kv_heads")
        head = shape.width // shape.heads
        columns = shape.width + 2 * self.kv_heads * head
        self.qkv = nn.Linear(shape.width, columns, bias=False)
        self.mix = nn.Linear(shape.width, shape.width, bias=False)

    def forward(
        self,
        x_BTD: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        seen_BTT: torch.Tensor | None,
    ) -> torch.Tensor:
        """(B, T, D) to (B, T, D)."""
        q, k, v = split(self.qkv(x_BTD), self.heads, self.kv_heads)
        q, k = (turn_halves(part, cos, sin) for part in (q, k))
        return self.mix(attention(q, k, v, seen_BTT))  # type: ignore[no-any-return]

    def state(self) -> dict[str, torch.Tensor]:
        """Weights under the names of transformers' attention."""
        kv = (self.qkv.out_features - self.qkv.in_features) // 2
        q, k, v = self.qkv.weight.split([self.qkv.in_features, kv, kv])
        return {
            "self_attn.q_proj.weight": q,
            "self_attn.k_proj.weight": k,
            "self_attn.v_proj.weight": v,
            "self_attn.o_proj.weight": self.mix.weight,
        }


class Block(nn.Module):
    """x + attention(norm(x)), then x + SwiGLU(norm(x)) (Shazeer 2020, eq. 6)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm_1 = nn.RMSNorm(shape.width, EPS)
        self.attention = Attention(shape)
        self.norm_2 = nn.RMSNorm(shape.width, EPS)
        self.up = nn.Linear(shape.width, 2 * shape.option("inner"), bias=False)
        self.down = nn.Linear(shape.option("inner"), shape.width, bias=False)

    def forward(
        self,
        x_BTD: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        seen_BTT: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(B, T, D) to (B, T, D)."""
        x_BTD = x_BTD + self.attention(self.norm_1(x_BTD), cos, sin, seen_BTT)
        gate, inner = self.up(self.norm_2(x_BTD)).chunk(2, -1)
        return x_BTD + self.down(F.silu(gate) * inner)  # type: ignore[no-any-return]

    def state(self) -> dict[str, torch.Tensor]:
        """Weights under the names of transformers' layer."""
        gate, inner = self.up.weight.chunk(2)
        return {
            "input_layernorm.weight": self.norm_1.weight,
            **self.attention.state(),
            "post_attention_layernorm.weight": self.norm_2.weight,
            "mlp.gate_proj.weight": gate,
            "mlp.up_proj.weight": inner,
            "mlp.down_proj.weight": self.down.weight,
        }


def decoder(shape: Shape, blocks: list[nn.Module]) -> Decoder:
    """Blocks with rotary positions over whole heads, between embedding and RMSNorm."""
    return Decoder(
        shape,
        blocks,
        nn.RMSNorm(shape.width, EPS),
        tied=shape.option("tied"),
        turning=shape.width // shape.heads,
    )


def build(shape: Shape) -> LanguageModel:
    """A Llama."""
    return decoder(shape, [Block(shape) for _ in range(shape.depth)])


def initialise(model: LanguageModel, generator: torch.Generator) -> None:
    """GPT-2's initialisation (`layers.initial`)."""
    assert isinstance(model, Decoder)
    names = ("mix.weight", "down.weight")
    draw(model, model.shape.width, model.shape.depth, names, generator)


def common_config(shape: Shape) -> dict[str, Any]:
    """What config.json of a LlamaForCausalLM and of its relatives holds."""
    return {
        "hidden_act": "silu",
        "hidden_size": shape.width,
        "intermediate_size": shape.option("inner"),
        "num_hidden_layers": shape.depth,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.option("kv_heads"),
        "max_position_embeddings": shape.context,
        "vocab_size": shape.vocab,
        "attention_dropout": 0.0,
        "rms_norm_eps": EPS,
        "rope_theta": BASE,
        "tie_word_embeddings": shape.option("tied"),
        "bos_token_id": 0,
        "eos_token_id": 0,
        "dtype": "float32",
    }


def config(shape: Shape) -> dict[str, Any]:
    """config.json of a LlamaForCausalLM."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "mlp_bias": False,
        **common_config(shape),
    }


def state(model: LanguageModel) -> dict[str, torch.Tensor]:
    """Weights under LlamaForCausalLM's names."""
    assert isinstance(model, Decoder)
    out = {"model.embed_tokens.weight": model.tokens.weight}
    out |= {f"model.norm.{name}": view for name, view in model.norm.named_parameters()}
    if model.head is not None:
        out["lm_head.weight"] = model.head.weight
    blocks: Any = model.blocks
    for index, block in enumerate(blocks):
        out |= {f"model.layers.{index}.{name}": view for name, view in block.state().items()}
    return out


register("llama", Family(build, initialise, config, state, documents=True))
