"""Causal models of transformers by name: `hf:gpt_neox`, `hf:FOLDER`, `hf:owner/name` on the hub.

The configuration is the class's own, or that of the folder or name, at the width, depth, heads,
context and vocabulary of the study; other widths that it holds keep their ratio to the width.
Initial weights are drawn as the class draws them, with the standard deviation of the other
families. Shape suffixes: B sequences, T tokens, V vocabulary.
"""

import inspect
import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scalelab.errors import UserError, first_line
from scalelab.models.corruption import IGNORED
from scalelab.models.families.gpt2 import REFERENCE_STD, REFERENCE_WIDTH
from scalelab.models.registry import Family, register
from scalelab.models.wrapped import Wrapped, described, initialise, state
from scalelab.plan.families import OF_TRANSFORMERS, Shape

WIDTHS = ("intermediate_size", "ffn_dim", "n_inner")
"""Inner widths by the names that configurations have for them."""
OF_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
DROPOUT = ("pdrop", "dropout", "dropout_p", "dropout_prob", "dropout_rate", "layerdrop")
LEFT_OUT = (
    *("architectures", "dtype", "torch_dtype", "transformers_version", "model_type"),
    *("layer_types", "_name_or_path", "id2label", "label2id"),
)
"""Of a configuration, what follows from the shape or says where it came from."""


class Named(Wrapped):
    """A causal model of transformers."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, partial(_make, shape))

    @property
    def blocks(self) -> nn.ModuleList:
        """The layers: the list of modules that is as long as the model is deep.

        Raises:
            UserError: there is none.
        """
        for module in self.inner.modules():
            if isinstance(module, nn.ModuleList) and len(module) == self.shape.depth:
                return module
        raise UserError(
            f"model.family: {self.shape.family} has no list of {self.shape.depth} layers"
        )

    def predicted(self, inputs_BT: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:
        """Logits (n, V) of the targets that are not ignored."""
        return self._logits(inputs_BT)[targets_BT != IGNORED]

    def predictions(self, inputs_BT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits in fp32, (B, T, V), and no penalty."""
        return self._logits(inputs_BT).float(), None

    def hidden(self, inputs_BT: torch.Tensor) -> torch.Tensor:
        """The logits, (B, T, V): `logits` has nothing left to do."""
        return self._logits(inputs_BT)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """What it is given."""
        return hidden

    def _logits(self, inputs_BT: torch.Tensor) -> torch.Tensor:
        return self.inner(input_ids=inputs_BT, use_cache=False).logits  # type: ignore[no-any-return]


def settings(shape: Shape) -> Any:
    """The configuration at a shape.

    Raises:
        UserError: transformers has none of that name, or it does not take the shape.
    """
    name = shape.family.partition(":")[2]
    base = _base(shape.family, name)
    try:
        wanted = {
            "hidden_size": shape.width,
            "num_hidden_layers": shape.depth,
            "num_attention_heads": shape.heads,
            "max_position_embeddings": shape.context,
            "vocab_size": shape.vocab,
            **_in_ratio(base, shape),
            **{key: 0 for key in OF_TOKENS if getattr(base, key, None) is not None},
            **{key: 0.0 for key in base.to_dict() if key.endswith(DROPOUT)},
        }
        if hasattr(base, "initializer_range"):
            wanted["initializer_range"] = REFERENCE_STD * math.sqrt(REFERENCE_WIDTH / shape.width)
        kept = {}
        if _is_place(name):
            kept = {key: value for key, value in base.to_dict().items() if key not in LEFT_OUT}
        return type(base)(**{**kept, **{_own(base, key): value for key, value in wanted.items()}})
    except Exception as error:  # each configuration checks itself in its own way
        raise _refused(shape, first_line(error)) from None


def _base(family: str, name: str) -> Any:
    """The configuration that a name stands for, as it is."""
    from transformers import AutoConfig

    try:
        if _is_place(name):
            return AutoConfig.from_pretrained(name)
        return AutoConfig.for_model(name)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"model.family: found {family}, expected hf: and a type of model of transformers, a "
            f"folder with a config.json, or a name on the hub: {first_line(error)}"
        ) from None


def _is_place(name: str) -> bool:
    return "/" in name or Path(name).is_dir()


def _own(base: Any, key: str) -> str:
    """The name that a configuration has for a key (n_embd for hidden_size)."""
    return str(type(base).attribute_map.get(key, key))


def _in_ratio(base: Any, shape: Shape) -> dict[str, int]:
    """Widths of MLPs in their ratio to the width; heads of keys and values in theirs to heads."""
    found = {}
    for key in WIDTHS:
        value = getattr(base, key, None)
        if isinstance(value, int):
            found[key] = max(1, round(value * shape.width / base.hidden_size))
    heads, of_head = getattr(base, "num_attention_heads", None), shape.width // shape.heads
    kv_heads, turning = (getattr(base, key, None) for key in ("num_key_value_heads", "rotary_dim"))
    if isinstance(kv_heads, int) and isinstance(heads, int):
        found["num_key_value_heads"] = max(1, shape.heads * kv_heads // heads)
    if isinstance(turning, int):
        found["rotary_dim"] = min(turning, of_head)
    if "head_dim" in inspect.signature(type(base).__init__).parameters:
        found["head_dim"] = of_head
    return found


def _make(shape: Shape) -> Any:
    from transformers import AutoModelForCausalLM

    found = settings(shape)
    try:
        made = AutoModelForCausalLM.from_config(found, dtype=torch.float32)
    except Exception as error:
        raise _refused(shape, first_line(error)) from None
    embedding = tuple(made.get_input_embeddings().weight.shape)
    if embedding != (shape.vocab, shape.width):
        raise _refused(shape, f"its embedding is {embedding}")
    return made


def _refused(shape: Shape, why: str) -> UserError:
    return UserError(
        f"model.family: {shape.family} cannot be had with width {shape.width}, depth "
        f"{shape.depth}, {shape.heads} heads and a vocabulary of {shape.vocab}: {why}"
    )


def config(shape: Shape) -> dict[str, Any]:
    """config.json of the class."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    found = settings(shape)
    return described(found, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[found.model_type])


register(OF_TRANSFORMERS, Family(Named, initialise, config, state))
