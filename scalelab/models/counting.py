"""Counts of models of transformers: shapes in, one line of JSON each; counts or a reason out.

`scalelab.plan.families.hf` starts it, since planning loads no torch. Nothing is computed but shapes
(fake tensors), and one small model, to see that it is causal and that its weights all count.
"""

import json
import sys
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from scalelab.errors import UserError, first_line
from scalelab.models.families.hf import Named
from scalelab.plan.families import Counts, Shape

WITH_WEIGHTS = ("aten.mm", "aten.addmm", "aten._grouped_mm")
SMALL_CONTEXT = 8
MOST_WEIGHTS = 20_000_000
"""Of a model of some ten thousand: what else it has is of fixed size."""


def main() -> None:
    """Answer each line of stdin."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    for line in sys.stdin:
        print(json.dumps(answer(Shape(**json.loads(line)))), flush=True)


def answer(shape: Shape) -> dict[str, Any]:
    """{"counts": ...} or {"error": a sentence}."""
    try:
        look_closely(shape)
        return {"counts": asdict(count(shape))}
    except UserError as error:
        return {"error": str(error)}


def count(shape: Shape) -> Counts:
    """Parameters by group and FLOPs of a model that is built without its numbers."""
    try:
        with FakeTensorMode():
            model = Named(shape)
            ids = torch.zeros((1, shape.context), dtype=torch.int64)
            plain, counter = sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False)
            with plain, counter, torch.no_grad():  # a fused attention has no formula on processors
                model.predictions(ids)
    except UserError:
        raise
    except Exception as error:  # whatever the class does that needs numbers
        raise UserError(
            f"model.family: the FLOPs of {shape.family} cannot be counted: {first_line(error)}"
        ) from None
    by_kind = {str(kind): flops for kind, flops in counter.get_flop_counts()["Global"].items()}
    products = sum(flops for kind, flops in by_kind.items() if kind.startswith(WITH_WEIGHTS))
    groups = _groups(model.inner)
    return Counts(
        **groups,
        matmul_flops=round(products / shape.context),
        attention_flops=round((sum(by_kind.values()) - products) / shape.context),
    )


def _built(shape: Shape) -> Named:
    """A model, or the reason why there is none in a sentence."""
    try:
        return Named(shape)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"model.family: {shape.family} cannot be built: {first_line(error)}"
        ) from None


def _groups(inner: Any) -> dict[str, int]:
    tokens, head = inner.get_input_embeddings(), inner.get_output_embeddings()
    embeddings = [module for module in inner.modules() if isinstance(module, nn.Embedding)]
    group = {id(p): "position_embedding" for module in embeddings for p in module.parameters()}
    group |= {id(p): "head" for p in head.parameters()}
    group |= {id(p): "token_embedding" for p in tokens.parameters()}
    found = dict.fromkeys(("token_embedding", "position_embedding", "head", "blocks"), 0)
    for parameter in inner.parameters():
        found[group.get(id(parameter), "blocks")] += parameter.numel()
    return found


def look_closely(shape: Shape) -> None:
    """Refuse a model that sees later tokens, or has weights that its loss does not reach.

    A small one is looked at, of the same heads and depth.
    """
    small = replace(shape, context=SMALL_CONTEXT, vocab=16, width=min(shape.width, 8 * shape.heads))
    with FakeTensorMode():
        weights = sum(p.numel() for p in _built(small).parameters())
    if weights > MOST_WEIGHTS:
        raise UserError(
            f"model.family: {shape.family} has {weights:,} weights however small its shape: it has "
            "parts that are no matter of width and depth"
        )
    model = Named(small)
    assert model.blocks
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.5)
        ids = torch.randint(1, small.vocab, (1, SMALL_CONTEXT))
    later = ids.clone()
    later[:, -1] = ids[:, -1] % (small.vocab - 1) + 1
    try:
        before, after = (model.predictions(one)[0] for one in (ids, later))
        before.logsumexp(-1).sum().backward()
    except Exception as error:
        raise UserError(f"model.family: {shape.family} fails: {first_line(error)}") from None
    if not torch.allclose(before[:, :-1], after[:, :-1], atol=1e-4):
        raise UserError(
            f"model.family: found {shape.family}, which sees the tokens after the one that it "
            "predicts; expected a causal model"
        )
    idle = [name for name, p in model.inner.named_parameters() if p.grad is None]
    if idle:
        raise UserError(
            f"model.family: {shape.family} has weights that text does not reach ({idle[0]} and "
            f"{len(idle) - 1} more): its N would count what it does not use"
        )


if __name__ == "__main__":
    main()
