"""Forms of a trained model that are really computed as they are kept, for what they take in time.

Shape suffixes: I inputs or inner channels, O outputs.
"""

import copy
import warnings
from typing import Any

import torch
from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

from scalelab.evaluation.measures import NotMeasured
from scalelab.evaluation.measures._weights import matrices, transposed
from scalelab.evaluation.measures.pruned import CHANNELS, kept_channels

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
READS = {
    **{"c_proj": ("c_fc",), "fc_out": ("fc_in",), "down_proj": ("gate_proj", "up_proj")},
    **{"dense_4h_to_h": ("dense_h_to_4h",), "fc2": ("fc1",)},
}
"""The matrices that the inner channels of an MLP are read by, beside the one that writes them."""


def forms(model: Any) -> dict[str, Any]:
    """The model as it is, in 16 bits, with matrices of the blocks in int8, and with narrower MLPs.

    int8 is torch's dynamic quantisation: a scale for each output, and one for the activations of
    each call; it is missing on accelerators. Narrower MLPs are missing where a family keeps them
    otherwise than ours do.

    Raises:
        NotMeasured: a matrix that is not of a linear layer, as those of experts are.
    """
    plain = linear(copy.deepcopy(model))
    for path in matrices(plain):
        owner = plain.get_submodule(path.rpartition(".")[0])
        if not isinstance(owner, torch.nn.Linear):
            raise NotMeasured(
                f"{path} is a matrix of {type(owner).__name__}, and quicker forms are known of "
                "linear layers alone"
            )
    found = {"fp32": plain}
    for name, dtype in DTYPES.items():
        found[name] = copy.deepcopy(plain)
        for weight in found[name].parameters():
            # Not .to(dtype): angles of rotary positions are buffers, and stay in fp32.
            weight.data = weight.data.to(dtype)
    if next(plain.parameters()).device.type == "cpu" and torch.backends.quantized.engine != "none":
        found["int8"] = eight_bits(copy.deepcopy(plain))
    for percent in CHANNELS:
        narrow = copy.deepcopy(plain)
        if cut(narrow, percent / 100):
            found[f"channels{percent}"] = narrow
    return found


def linear(model: Any) -> Any:
    """Every Conv1D of GPT-2, (I, O), as the linear layer that it is, in place."""
    for path, weight in matrices(model).items():
        if not transposed(model, path):
            continue
        name = path.rpartition(".")[0]
        old = model.get_submodule(name)
        inputs, outputs = weight.shape
        layer = torch.nn.Linear(inputs, outputs, device=weight.device, dtype=weight.dtype)
        with torch.no_grad():
            layer.weight.copy_(weight.t())
            layer.bias.copy_(old.bias)
        model.set_submodule(name, layer.requires_grad_(weight.requires_grad))
    return model.eval()


def eight_bits(model: Any) -> Any:
    """The linear layers of the blocks with weights and products in int8, in place."""
    names = [path.rpartition(".")[0] for path in matrices(model)]
    with warnings.catch_warnings():
        # torchao, its successor, is slower at these sizes (docs/axes/compression.md).
        warnings.filterwarnings("ignore", message=r"torch\.(ao\.quantization|quantize_per)")
        return quantize_dynamic(
            model, dict.fromkeys(names, per_channel_dynamic_qconfig), inplace=True
        )


def cut(model: Any, share: float) -> bool:
    """Take the inner channels that `pruned` zeroes out of the weights, in place; whether all MLPs
    of the model, one or more, are of the kinds that this is known of."""
    kept = kept_channels(model, share)
    for path, kept_1I in kept.items():
        where, _, last = path.removesuffix(".weight").rpartition(".")
        owner = model.get_submodule(where)
        if not all(hasattr(owner, name) for name in READS[last]):
            return False
        here = kept_1I[0].nonzero()[:, 0]
        for name in READS[last]:
            layer = owner.get_submodule(name)
            layer.weight, layer.out_features = _some(layer.weight, 0, here), len(here)
            if layer.bias is not None:
                layer.bias = _some(layer.bias, 0, here)
        layer = owner.get_submodule(last)
        layer.weight, layer.in_features = _some(layer.weight, 1, here), len(here)
    return bool(kept)


def _some(weight: torch.Tensor, dim: int, places: torch.Tensor) -> torch.nn.Parameter:
    """Rows or columns of a weight, as memory that holds no others."""
    return torch.nn.Parameter(weight.detach().index_select(dim, places).contiguous())
