"""A sparse MLP: a router sends each token to a few of several experts, none is dropped.

Shape suffixes: B sequences, T tokens, R = B T, D width, U inner width of an expert, E experts, A
active ones, M = R A places of a token at an expert.
"""

import torch
import torch.nn.functional as F
from torch import nn

BALANCE = 0.01
"""Weight of the balance loss against the loss of a token (Fedus et al. 2022, section 2.2)."""


class Experts(nn.Module):
    """The A best of E SwiGLU experts, mixed by their chances (Jiang et al. 2024, section 2.1).

    Probabilities are those of a softmax over all experts, divided by the sum of the chosen ones.
    """

    def __init__(self, width: int, inner: int, experts: int, active: int) -> None:
        super().__init__()
        self.active = active
        self.router = nn.Linear(width, experts, bias=False)
        self.up = nn.Parameter(torch.empty(experts, 2 * inner, width))
        self.down = nn.Parameter(torch.empty(experts, width, inner))

    def forward(self, x_BTD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, T, D) to (B, T, D), and the balance loss summed over the tokens."""
        x_RD = x_BTD.flatten(0, 1)
        # In fp32 whatever the precision: it decides where a token goes (Fedus et al. 2022, 2.4).
        with torch.autocast(x_BTD.device.type, enabled=False):
            chances_RE = self.router(x_RD.float()).softmax(-1)
        weights_RA, chosen_RA = chances_RE.topk(self.active, -1)
        weights_RA = weights_RA / weights_RA.sum(-1, keepdim=True)
        # Places in the order of their expert, so that each expert has one product.
        order_M = chosen_RA.flatten().argsort(stable=True)
        counts = chosen_RA.flatten().bincount(minlength=len(self.up)).tolist()
        parts = x_RD[order_M // self.active].split(counts)
        done = [self._expert(place, part) for place, part in enumerate(parts)]
        out_RAD = torch.cat(done)[order_M.argsort()].unflatten(0, chosen_RA.shape)
        mixed = (out_RAD * weights_RA[..., None].to(out_RAD.dtype)).sum(1)
        shape = (*x_BTD.shape[:2], -1)
        return mixed.view_as(x_BTD), balance(chances_RE.view(shape), chosen_RA.view(shape))

    def _expert(self, place: int, x_MD: torch.Tensor) -> torch.Tensor:
        gate, inner = F.linear(x_MD, self.up[place]).chunk(2, -1)
        return F.linear(F.silu(gate) * inner, self.down[place])


def balance(chances_BTE: torch.Tensor, chosen_BTA: torch.Tensor) -> torch.Tensor:
    """BALANCE E sum_e f_e P_e of each sequence times its tokens, summed (Fedus et al. 2022, eq. 4).

    f_e is the share of places at expert e, P_e its mean chance; even use gives BALANCE a token.
    By sequence, as in DeepSeek-AI 2024 (arXiv:2412.19437, eq. 17), so that it depends neither on
    how a batch is cut up nor on the number of processes.
    """
    experts, time = chances_BTE.shape[-1], chances_BTE.shape[1]
    used_BE = F.one_hot(chosen_BTA.flatten(1), experts).sum(1) / chosen_BTA[0].numel()
    return BALANCE * experts * time * (used_BE * chances_BTE.mean(1)).sum()
