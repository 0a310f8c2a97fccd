"""A run's checkpoint as others open it: by transformers."""

from pathlib import Path
from typing import Any

from scalelab.errors import UserError
from scalelab.sums import check_checkpoint
from scalelab.training import machine


def open_checkpoint(folder: Path) -> Any:
    """A checkpoint as transformers opens it, in fp32, with attention that gives its weights.

    Raises:
        UserError: it is none, or there is no device for it.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    check_checkpoint(folder)
    logging.disable_progress_bar()
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            str(folder), attn_implementation="eager", local_files_only=True, dtype=torch.float32
        )
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: expected a checkpoint of transformers, but {error}") from None
    return model.to(machine.device()).eval()
