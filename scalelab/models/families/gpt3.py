"""GPT-3 (Brown et al. 2020): GPT-2 whose layers alternate between dense and banded attention.

The first layer is dense, the second banded, and so on. Exports to transformers' GPTNeoForCausalLM,
which has no biases of queries, keys and values; so has this. Shape suffixes: B sequences, T tokens,
D width.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from scalelab.models.decoder import Decoder
from scalelab.models.layers.grouped import attention, banded_attention, split
from scalelab.models.layers.initial import draw
from scalelab.models.registry import Family, LanguageModel, register
from scalelab.plan.families import Shape
from scalelab.plan.families.gpt3 import chunk_of


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)); band: what a token sees, 0 for all."""

    def __init__(self, shape: Shape, band: int) -> None:
        super().__init__()
        width, self.heads, self.band = shape.width, shape.heads, band
        self.chunk = chunk_of(band, shape.context) if band else 0
        self.norm_1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.mix = nn.Linear(width, width)
        self.norm_2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(
        self,
        x_BTD: torch.Tensor,
        cos: torch.Tensor | None = None,
        sin: torch.Tensor | None = None,
        seen_BTT: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(B, T, D) to (B, T, D); no rotary positions."""
        q, k, v = split(self.qkv(self.norm_1(x_BTD)), self.heads, self.heads)
        if self.band:
            mixed = banded_attention(q, k, v, self.band, self.chunk, seen_BTT)
        else:
            mixed = attention(q, k, v, seen_BTT)
        x_BTD = x_BTD + self.mix(mixed)
        inner = F.gelu(self.up(self.norm_2(x_BTD)), approximate="tanh")
        return x_BTD + self.down(inner)  # type: ignore[no-any-return]


def build(shape: Shape) -> LanguageModel:
    """A GPT-3."""
    band = shape.option("band")
    blocks = [Block(shape, band if place % 2 else 0) for place in range(shape.depth)]
    return Decoder(shape, blocks, nn.LayerNorm(shape.width), tied=True, positions=True)


def initialise(model: LanguageModel, generator: torch.Generator) -> None:
    """GPT-2's initialisation (`layers.initial`)."""
    assert isinstance(model, Decoder)
    names = ("mix.weight", "down.weight")
    draw(model, model.shape.width, model.shape.depth, names, generator)


def factors(shape: Shape) -> dict[str, torch.Tensor]:
    """GPTNeoForCausalLM does not divide by sqrt(K) for heads of K numbers: its queries do."""
    scale = torch.tensor((shape.width / shape.heads) ** -0.5)
    names = (f"transformer.h.{place}.attn.attention.q_proj.weight" for place in range(shape.depth))
    return dict.fromkeys(names, scale)


def config(shape: Shape) -> dict[str, Any]:
    """config.json of a GPTNeoForCausalLM."""
    kinds = [[["global", "local"], shape.depth // 2], [["global"], shape.depth % 2]]
    return {
        "architectures": ["GPTNeoForCausalLM"],
        "model_type": "gpt_neo",
        "activation_function": "gelu_new",
        "attention_types": [kind for kind in kinds if kind[1]],
        "window_size": shape.option("band"),
        "hidden_size": shape.width,
        "num_layers": shape.depth,
        "num_heads": shape.heads,
        "max_position_embeddings": shape.context,
        "vocab_size": shape.vocab,
        "attention_dropout": 0.0,
        "embed_dropout": 0.0,
        "resid_dropout": 0.0,
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "dtype": "float32",
    }


def state(model: LanguageModel) -> dict[str, torch.Tensor]:
    """Weights under GPTNeoForCausalLM's names."""
    assert isinstance(model, Decoder)
    assert model.positions is not None
    out = {
        "transformer.wte.weight": model.tokens.weight,
        "transformer.wpe.weight": model.positions.weight,
    }
    out |= {f"transformer.ln_f.{name}": view for name, view in model.norm.named_parameters()}
    for index, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        q, k, v = block.qkv.weight.chunk(3)
        names = {
            "ln_1.weight": block.norm_1.weight,
            "ln_1.bias": block.norm_1.bias,
            "attn.attention.q_proj.weight": q,
            "attn.attention.k_proj.weight": k,
            "attn.attention.v_proj.weight": v,
            "attn.attention.out_proj.weight": block.mix.weight,
            "attn.attention.out_proj.bias": block.mix.bias,
            "ln_2.weight": block.norm_2.weight,
            "ln_2.bias": block.norm_2.bias,
            "mlp.c_fc.weight": block.up.weight,
            "mlp.c_fc.bias": block.up.bias,
            "mlp.c_proj.weight": block.down.weight,
            "mlp.c_proj.bias": block.down.bias,
        }
        out |= {f"transformer.h.{index}.{name}": view for name, view in names.items()}
    return out


register("gpt3", Family(build, initialise, config, state, factors, documents=True))
