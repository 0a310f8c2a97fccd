"""Causal attention of queries over keys and values that several heads may share, differentiable by
torch itself.

Shape suffixes: B sequences, T tokens, H heads of queries, G heads of keys and values, K width of a
head, S keys that a query is multiplied with.
"""

import torch
import torch.nn.functional as F


def split(
    qkv: torch.Tensor, heads: int, kv_heads: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries (B, H, T, K), keys and values (B, G, T, K) of what one product gave, side by side."""
    batch, time, total = qkv.shape
    parts = qkv.view(batch, time, heads + 2 * kv_heads, total // (heads + 2 * kv_heads))
    q, k, v = parts.transpose(1, 2).split([heads, kv_heads, kv_heads], 1)
    return q, k, v


def attention(
    q_BHTK: torch.Tensor,
    k_BGTK: torch.Tensor,
    v_BGTK: torch.Tensor,
    seen_BTT: torch.Tensor | None = None,
) -> torch.Tensor:
    """The mixed values (B, T, H K); products of queries and keys over sqrt(K).

    A head of keys serves the H / G heads of queries in a row (Ainslie et al. 2023, section 2.2).
    seen: which tokens see which, those after them never; None: all before them.
    """
    shared = q_BHTK.shape[1] // k_BGTK.shape[1]
    if shared > 1:
        k_BGTK, v_BGTK = (x.repeat_interleave(shared, 1) for x in (k_BGTK, v_BGTK))
    seen = None if seen_BTT is None else seen_BTT[:, None]
    mixed = F.scaled_dot_product_attention(
        q_BHTK, k_BGTK, v_BGTK, attn_mask=seen, is_causal=seen is None
    )
    return mixed.transpose(1, 2).flatten(2)


def banded_attention(
    q_BHTK: torch.Tensor,
    k_BHTK: torch.Tensor,
    v_BHTK: torch.Tensor,
    band: int,
    chunk: int,
    seen_BTT: torch.Tensor | None = None,
) -> torch.Tensor:
    """The mixed values (B, T, H K) where a token sees the `band` tokens up to itself alone (the
    local part of Child et al. 2019, section 4).

    Chunks of queries are multiplied with the keys of their own chunk and of the one before, 2
    `chunk` keys in place of T; `chunk` is at least `band`.
    """
    time, device = q_BHTK.shape[2], q_BHTK.device
    if 2 * chunk >= time:
        place = torch.arange(time, device=device)
        near = place[:, None] - place < band
        seen = near.tril()[None] if seen_BTT is None else seen_BTT & near
        return attention(q_BHTK, k_BHTK, v_BHTK, seen)
    lacking = -time % chunk
    q, k, v = (F.pad(x, (0, 0, 0, lacking)) for x in (q_BHTK, k_BHTK, v_BHTK))
    queries = torch.arange(time + lacking, device=device).view(-1, chunk)
    keys = queries[:, :1] - chunk + torch.arange(2 * chunk, device=device)
    distance = queries[:, :, None] - keys[:, None, :]
    seen = (distance >= 0) & (distance < band) & (keys >= 0)[:, None]
    if seen_BTT is not None:
        at = queries.clamp(max=time - 1)[:, :, None], keys.clamp(0, time - 1)[:, None, :]
        # A padded query sees itself: a row that sees nothing has no softmax.
        seen = seen & (seen_BTT[:, *at] | (distance == 0))
        seen = seen[:, None]
    q = q.unflatten(2, queries.shape)
    k, v = (_with_the_one_before(x.unflatten(2, queries.shape)) for x in (k, v))
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
    return mixed.flatten(2, 3)[:, :, :time].transpose(1, 2).flatten(2)


def _with_the_one_before(x: torch.Tensor) -> torch.Tensor:
    """Chunks (B, H, n, chunk, K) each with the one before it, (B, H, n, 2 chunk, K)."""
    before = F.pad(x[:, :, :-1], (0, 0, 0, 0, 1, 0))
    return torch.cat([before, x], 3)
