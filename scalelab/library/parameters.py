"""How large a model is, from its checkpoint: the headers of its weights, or its configuration."""

import json
import re
import struct
from math import prod
from pathlib import Path
from typing import Any

from scalelab.errors import UserError
from scalelab.files import read_json

EMBEDDING = re.compile(
    r"(^|\.)(wte|wpe|tok_embeddings|embed_tokens|embed_positions|embed_in|word_embeddings"
    r"|position_embeddings|token_type_embeddings|word_embedding|embedding|embeddings|shared)"
    r"\.weight$"
)
HEAD = re.compile(r"(^|\.)(lm_head|embed_out|output_projection|output)\.weight$")
BUFFER = re.compile(r"(masked_bias|inv_freq|position_ids|\.attn\.bias)$")
"""What older checkpoints hold beside parameters; a bias of attention that is one has one axis."""
LARGEST_HEADER = 100_000_000  # bytes, as safetensors itself allows


def count_beside(folder: Path) -> dict[str, int]:
    """N, N_total and N_embedding of the model in a folder; {} where nothing tells them.

    N leaves out token and position embeddings and the head (Kaplan et al. 2020, section 2.1);
    N_total counts tied weights once. Weights in safetensors are counted by their headers; else
    config.json is built without memory.

    Raises:
        UserError: a header is damaged.
    """
    shapes = _shapes(folder)
    if shapes:
        return from_shapes(shapes, tied=any(map(HEAD.search, shapes)) and _tied(folder))
    if (folder / "config.json").is_file():
        return from_config(folder)
    return {}


def from_shapes(shapes: dict[str, list[int]], tied: bool) -> dict[str, int]:
    """The counts from {name of a tensor: shape}; tied: the head is the token embedding."""
    shapes = {
        name: shape
        for name, shape in shapes.items()
        if not (BUFFER.search(name) and not (name.endswith(".attn.bias") and len(shape) == 1))
    }
    if tied:
        shapes = {name: shape for name, shape in shapes.items() if not HEAD.search(name)}
    embedding = sum(prod(shape) for name, shape in shapes.items() if EMBEDDING.search(name))
    head = sum(prod(shape) for name, shape in shapes.items() if HEAD.search(name))
    total = sum(prod(shape) for shape in shapes.values())
    return {"N": total - embedding - head, "N_total": total, "N_embedding": embedding}


def from_config(folder: Path) -> dict[str, int]:
    """The counts of the model that a config.json describes; {} where transformers lacks it."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except (ValueError, KeyError, OSError, ImportError):
        return {}
    shapes = {name: list(tensor.shape) for name, tensor in model.named_parameters()}
    return from_shapes(shapes, tied=False)  # a tied head is no parameter of its own


def _shapes(folder: Path) -> dict[str, list[int]]:
    files = sorted(folder.glob("model*.safetensors"))
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(read_json(index).get("weight_map", {}).values()))
        files = [folder / name for name in names]
    shapes: dict[str, list[int]] = {}
    for file in files:
        shapes |= {name: about["shape"] for name, about in header(file).items()}
    return shapes


def header(file: Path) -> dict[str, Any]:
    """{name: {dtype, shape, ...}} of a safetensors file, without reading its weights.

    The format: eight bytes with the length of the header, little endian, then JSON.
    """
    try:
        with open(file, "rb") as handle:
            (length,) = struct.unpack("<Q", handle.read(8))
            if length > LARGEST_HEADER:
                raise ValueError(f"a header of {length} bytes")
            content = json.loads(handle.read(length))
        return {
            name: about
            for name, about in content.items()
            if name != "__metadata__" and all(isinstance(size, int) for size in about["shape"])
        }
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file}: expected weights in safetensors, but {error}") from None


def _tied(folder: Path) -> bool:
    """Whether the head is the token embedding; transformers 4 left out what a class has anyway."""
    try:
        told = read_json(folder / "config.json")
        if "tie_word_embeddings" not in told:
            from transformers import AutoConfig

            told = AutoConfig.from_pretrained(folder, local_files_only=True).to_dict()
        return bool(told.get("tie_word_embeddings", False))
    except (UserError, AttributeError, TypeError, ValueError, KeyError, OSError, ImportError):
        return False
