"""Rotary positions (Su et al. 2021, section 3.2.2): pairs of numbers turn by angles that grow with
the position, so that products of queries and keys depend on their distance alone.

Shape suffixes: B sequences, H heads, T tokens, K width of a head, R numbers of it that turn.
"""

import torch

BASE = 10_000.0
"""Ratio of the slowest to the fastest wavelength (Vaswani et al. 2017, section 3.5)."""


def angles(positions: torch.Tensor, turning: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines, (T, R / 2) of positions (T,) and (B, 1, T, R / 2) of positions (B, T)."""
    place = torch.arange(0, turning, 2, device=positions.device, dtype=torch.float32)
    angle = positions[..., None].float() / BASE ** (place / turning)
    if angle.ndim == 3:
        angle = angle[:, None]
    return angle.cos(), angle.sin()


def turn_halves(x_BHTK: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turned by pairs of a number in the first half and its like in the second, as Llama's
    weights in transformers have them."""
    first, second = x_BHTK.float().chunk(2, -1)
    turned = torch.cat([first * cos - second * sin, second * cos + first * sin], -1)
    return turned.to(x_BHTK.dtype)


def turn_pairs(x_BHTK: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turned by pairs of neighbours, as in the paper; what stands beyond the R numbers that the
    angles are for stays."""
    turning = 2 * cos.shape[-1]
    rest = x_BHTK[..., turning:]
    even, odd = x_BHTK[..., :turning:2].float(), x_BHTK[..., 1:turning:2].float()
    turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin], -1).flatten(-2)
    return torch.cat([turned.to(x_BHTK.dtype), rest], -1)
