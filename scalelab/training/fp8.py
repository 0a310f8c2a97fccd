"""Products in fp8: the linear layers of the blocks, by torchao, with a scale for each tensor.

Activations and weights are rounded to E4M3 and gradients to E5M2 (Micikevicius et al. 2022,
arXiv:2209.05433, section 3), each after a division by its largest magnitude at that moment. The
rest is as in bf16: attention, embeddings, the head, and sums in fp32.
"""

import logging
import os
from typing import Any

import torch
from torch import nn

from scalelab.errors import UserError
from scalelab.plan.precisions import FP8, MULTIPLE

LEAST_CAPABILITY = (8, 9)
"""CUDA devices that multiply in fp8: Ada, Hopper and later."""


def convert(model: Any, precision: str, where: torch.device) -> None:
    """Have the linear layers of `model.blocks` multiply in fp8 where `precision` asks for it.

    The parameters stay the same objects, in fp32, under the same names. Emulated, operands are
    rounded in the same way and multiplied in a wider format: the loss of fp8, on any device, and
    none of its speed.

    Raises:
        UserError: the device has no fp8, torchao is not installed, or the model has no layers that
            it converts.
    """
    if precision not in FP8:
        return
    emulated = precision == "fp8_emulated"
    if not emulated and not has_fp8(where):
        raise UserError(
            f"training.precision: found fp8, which {where.type} does not have here; expected "
            "fp32, bf16, fp16, fp8_emulated or auto"
        )
    layers = [one for one in model.blocks.modules() if isinstance(one, nn.Linear)]
    if not layers:
        raise UserError(
            f"training.precision: found {precision}, expected a family whose blocks are made of "
            "torch's linear layers"
        )
    for layer in layers:
        if layer.in_features % MULTIPLE or layer.out_features % MULTIPLE:
            raise UserError(
                f"training.precision: found {precision} with a layer of {layer.in_features} by "
                f"{layer.out_features}, expected multiples of {MULTIPLE}"
            )
    # Its compiled parts are for other purposes, and beside another torch it warns of them.
    os.environ.setdefault("TORCHAO_FORCE_SKIP_LOADING_SO_FILES", "1")
    logging.getLogger("torchao").setLevel(logging.ERROR)
    try:
        from torchao.float8 import Float8LinearConfig, convert_to_float8_training
    except ImportError as error:
        raise UserError(
            f"training.precision: {precision} needs torchao, which cannot be imported "
            f"({error}); install it with `pip install 'scalelab[fp8]'`"
        ) from None
    # Padded: the tokens of a pass need not be a multiple of 16.
    convert_to_float8_training(
        model.blocks, config=Float8LinearConfig(emulate=emulated, pad_inner_dim=True)
    )


def has_fp8(where: torch.device) -> bool:
    """Whether a device multiplies in fp8."""
    return where.type == "cuda" and torch.cuda.get_device_capability(where) >= LEAST_CAPABILITY
