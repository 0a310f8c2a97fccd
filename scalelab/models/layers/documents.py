"""Attention within documents: what a token of a packed sequence sees, and where it stands.

A separator opens a document and predicts its first token. Shape suffixes: B sequences, T tokens.
"""

import torch


def restarts(inputs_BT: torch.Tensor, separator: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions counted from the last separator (B, T), and which tokens see which (B, T, T).

    A token sees itself and what is before it in its own document, the opening separator included.
    A document that the sequence begins in the middle of counts from the sequence's first token.
    """
    time = inputs_BT.shape[1]
    place_T = torch.arange(time, device=inputs_BT.device)
    opens_BT = inputs_BT == separator
    start_BT = torch.where(opens_BT, place_T, 0).cummax(1).values
    document_BT = opens_BT.cumsum(1)
    same_BTT = document_BT[:, :, None] == document_BT[:, None, :]
    return place_T - start_BT, same_BTT & (place_T[:, None] >= place_T)
