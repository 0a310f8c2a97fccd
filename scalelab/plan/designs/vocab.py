"""Vocabulary size at fixed N, compared in bits per byte (Tao et al. 2024, arXiv:2407.13623)."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from scalelab.config import Study, with_values
from scalelab.config.schema import STRICT
from scalelab.config.values import Positive
from scalelab.errors import UserError
from scalelab.plan.designs import Design, Point, ladder_points, optimum, register
from scalelab.plan.families import count
from scalelab.plan.sizes import shape_of


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Vocab:
    """Several vocabularies at each size: a tokenizer is trained for each. A larger one makes fewer
    tokens of a text and a dearer output head, so equal tokens are not equal in cost."""

    vocab_sizes: Annotated[tuple[Positive, ...], Field(min_length=3)]
    """Tokens of each BPE vocabulary."""
    hold: Literal["flops", "tokens"] = "flops"
    """What is equal: the training FLOPs that `training.tokens` cost at `corpus.vocab_size`, or the
    tokens."""


def points(study: Study, options: Vocab) -> Iterator[Point]:
    """Sizes x vocabularies."""
    tokens = study.training.tokens
    if options.hold == "flops" and tokens is None:
        raise UserError("design.hold: flops needs training.tokens, found none")
    for rung, point in ladder_points(study):
        for size in options.vocab_sizes:
            varied = {"corpus.vocab_size": size}
            if options.hold == "flops" and tokens is not None:
                model = replace(study.model, **_shape_keys(rung.values))
                corpus = with_values(study.corpus, {"vocab_size": size}, "design.vocab_sizes")
                cost = count(shape_of(replace(study, model=model, corpus=corpus))).training_flops
                varied["training.tokens"] = round(tokens * rung.counts.training_flops / cost)
            yield replace(point, values={**point.values, **varied})


def _shape_keys(values: dict[str, Any]) -> dict[str, Any]:
    return {key.removeprefix("model."): value for key, value in values.items()}


register(
    Design(
        name="vocab",
        options=Vocab,
        points=points,
        answers=lambda options: (optimum("vocab", "bits_per_byte"),),
        figures=("optimum",),
    )
)
