"""GPT-J (Wang and Komatsuzaki 2021): attention and MLP side by side after one LayerNorm, rotary
positions on a part of each head, a head of its own with a bias.

Exports to transformers' GPTJForCausalLM. Shape suffixes: B sequences, T tokens, D width.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from scalelab.models.decoder import Decoder
from scalelab.models.layers.grouped import attention, split
from scalelab.models.layers.initial import draw
from scalelab.models.layers.rotary import turn_pairs
from scalelab.models.registry import Family, LanguageModel, register
from scalelab.plan.families import Shape
from scalelab.plan.families.gptj import rotary_width


class Block(nn.Module):
    """x + attention(norm(x)) + MLP(norm(x))."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, self.heads = shape.width, shape.heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.mix = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(
        self,
        x_BTD: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        seen_BTT: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(B, T, D) to (B, T, D)."""
        inner = self.norm(x_BTD)
        q, k, v = split(self.qkv(inner), self.heads, self.heads)
        q, k = (turn_pairs(part, cos, sin) for part in (q, k))
        mixed = self.mix(attention(q, k, v, seen_BTT))
        active = F.gelu(self.up(inner), approximate="tanh")
        return x_BTD + mixed + self.down(active)  # type: ignore[no-any-return]


def build(shape: Shape) -> LanguageModel:
    """A GPT-J."""
    blocks = [Block(shape) for _ in range(shape.depth)]
    norm, turning = nn.LayerNorm(shape.width), rotary_width(shape)
    return Decoder(shape, blocks, norm, tied=False, head_bias=True, turning=turning)


def initialise(model: LanguageModel, generator: torch.Generator) -> None:
    """GPT-2's initialisation (`layers.initial`)."""
    assert isinstance(model, Decoder)
    names = ("mix.weight", "down.weight")
    draw(model, model.shape.width, model.shape.depth, names, generator)


def config(shape: Shape) -> dict[str, Any]:
    """config.json of a GPTJForCausalLM."""
    return {
        "architectures": ["GPTJForCausalLM"],
        "model_type": "gptj",
        "activation_function": "gelu_new",
        "n_embd": shape.width,
        "n_layer": shape.depth,
        "n_head": shape.heads,
        "n_positions": shape.context,
        "rotary_dim": rotary_width(shape),
        "vocab_size": shape.vocab,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "dtype": "float32",
    }


def state(model: LanguageModel) -> dict[str, torch.Tensor]:
    """Weights under GPTJForCausalLM's names."""
    assert isinstance(model, Decoder)
    assert model.head is not None
    out = {
        "transformer.wte.weight": model.tokens.weight,
        "lm_head.weight": model.head.weight,
        "lm_head.bias": model.head.bias,
    }
    out |= {f"transformer.ln_f.{name}": view for name, view in model.norm.named_parameters()}
    for index, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        q, k, v = block.qkv.weight.chunk(3)
        names = {
            "ln_1.weight": block.norm.weight,
            "ln_1.bias": block.norm.bias,
            "attn.q_proj.weight": q,
            "attn.k_proj.weight": k,
            "attn.v_proj.weight": v,
            "attn.out_proj.weight": block.mix.weight,
            "mlp.fc_in.weight": block.up.weight,
            "mlp.fc_in.bias": block.up.bias,
            "mlp.fc_out.weight": block.down.weight,
            "mlp.fc_out.bias": block.down.bias,
        }
        out |= {f"transformer.h.{index}.{name}": view for name, view in names.items()}
    return out


register("gptj", Family(build, initialise, config, state, documents=True))
