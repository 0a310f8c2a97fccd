"""A proposal written as a study file, with learning rate and batch by published rules."""

import math
from typing import Any

from scalelab.advise.propose import Proposal

OURS = {"lr": 3.9e-3, "N": 1.5e5, "exponent": -0.44, "batch": 1024, "D": 2.5e6}
"""Measured from 1e4 to 1e6 parameters at 2.5 million tokens (docs/method.md)."""
LARGE = 1e17
"""Training FLOPs of a run from which DeepSeek's rules hold (Bi et al. 2024, arXiv:2401.02954,
section 3.1, fitted from 1e17 to 2e19): rate 0.3118 C^-0.1250, batch 0.2920 C^0.3271 tokens."""
TEXT_TOKENS = 11e6
"""Training tokens of the docstrings of the locked packages at a vocabulary of 512."""


def rules(proposal: Proposal) -> tuple[dict[str, float], dict[str, Any] | int]:
    """Power rules of the rate, in N, and of the batch, in D, at the dearest run.

    Beyond its measured range a rule of small models gives way to DeepSeek's, put through the
    dearest run: at D = 20 N its rate goes with N^-0.25 and its batch with D^0.654.
    """
    size, tokens = max(proposal.runs, key=lambda run: run[0].counts.training_flops * run[1])
    flops = proposal.largest
    if flops < LARGE:
        rate = OURS["lr"] * (size.n / OURS["N"]) ** OURS["exponent"]
        batch = OURS["batch"] * (tokens / OURS["D"]) ** 0.654
        exponent = OURS["exponent"]
    else:
        rate, batch, exponent = 0.3118 * flops**-0.125, 0.2920 * flops**0.3271, -0.25
    lr = {"value": float(f"{rate:.3g}"), "at": float(f"{size.n:.3g}"), "exponent": exponent}
    return lr, _batch(batch, tokens, min(run[1] for run in proposal.runs), size.shape.context)


def _batch(batch: float, tokens: float, fewest: float, context: int) -> dict[str, Any] | int:
    """A rule of D of whole sequences: one for the shortest run at the least."""
    value = max(context, round(batch / context) * context)
    if value == context or tokens < 1.01 * fewest:
        return value
    exponent = min(0.654, math.log(value / context) / math.log(tokens / fewest))
    return {
        "value": value,
        "at": float(f"{tokens:.3g}"),
        "exponent": float(f"{exponent:.3g}"),
        "of": "D",
    }


def study(proposal: Proposal, name: str) -> dict[str, Any]:
    """The study as `scalelab.config.parse` takes it."""
    lr, batch = rules(proposal)
    shape = proposal.sizes[-1].shape
    most = max(tokens for _, tokens in proposal.runs)
    enough = most <= TEXT_TOKENS and shape.vocab == 512
    source: dict[str, Any] = (
        {"source": "docstrings"} if enough else {"source": "files", "paths": ["data/*.jsonl"]}
    )
    training: dict[str, Any] = {
        "lr": lr,
        "batch_tokens": batch,
        "schedule": {"kind": "wsd", "warmup": 0.02, "cooldown": 0.3},
    }
    if proposal.tokens_per_param:
        training["tokens_per_param"] = proposal.tokens_per_param
    return {
        "study": name,
        "corpus": {**source, "tokenizer": "bpe", "vocab_size": shape.vocab},
        "model": {"family": shape.family, "context": shape.context},
        "ladder": {
            "shapes": [
                {"depth": s.shape.depth, "width": s.shape.width, "heads": s.shape.heads}
                for s in proposal.sizes
            ]
        },
        "design": {"kind": proposal.design, **proposal.options},
        "training": training,
    }


def comments(proposal: Proposal, budget: str) -> list[str]:
    """What a reader of the file should know."""
    small = proposal.largest < LARGE
    most = max(tokens for _, tokens in proposal.runs)
    lines = [
        f"Proposed by `scalelab plan {budget}`: {proposal.flops:.3g} training FLOPs,",
        f"{len(proposal.runs)} runs of {proposal.sizes[0].n:,} to {proposal.sizes[-1].n:,} "
        "parameters.",
        "Rate and batch by "
        + (
            "the rules of docs/method.md, measured from 1e4 to 1e6 parameters."
            if small
            else "the rules of Bi et al. 2024 (arXiv:2401.02954), measured from 1e17 FLOPs on."
        ),
        "Sweep the rate at the smallest and a middle size first (design: {kind: sweep}).",
    ]
    if most > TEXT_TOKENS:
        lines.append(f"The longest run reads {most:,.0f} tokens: name your text in corpus.paths.")
    return lines


def as_yaml(content: dict[str, Any], lines: list[str]) -> str:
    """A study file: comments, then sections with their short parts in one line."""
    import io

    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.default_flow_style = None
    yaml.width = 96
    out = io.StringIO()
    yaml.dump(content, out)
    return "".join(f"# {line}\n" for line in lines) + out.getvalue()
