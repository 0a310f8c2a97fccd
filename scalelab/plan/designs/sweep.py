"""Learning rates and batch sizes over the sizes, for a rule that later studies read."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from pydantic.dataclasses import dataclass

from scalelab.config import PowerRule, Study
from scalelab.config.schema import STRICT
from scalelab.config.values import Positive, Rate
from scalelab.errors import UserError
from scalelab.plan.designs import Design, Point, ladder_points, optimum, register


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Sweep:
    """Each size at several learning rates, batches, or both. Score it on the tuning split. The
    best of each size, found between the steps, make a power rule of N (`rule` in laws.json)."""

    lr_factors: tuple[Rate, ...] = ()
    """Multiples of `training.lr`, which may itself be a rule, such as [0.25, 0.5, 1, 2, 4]."""
    batch_tokens: tuple[Positive, ...] = ()
    """Batches, tokens in a step."""


def points(study: Study, options: Sweep) -> Iterator[Point]:
    """Sizes x rates x batches."""
    if not options.lr_factors and not options.batch_tokens:
        raise UserError("design: sweep needs lr_factors, batch_tokens or both")
    for _, point in ladder_points(study):
        for factor in options.lr_factors or (None,):
            for batch in options.batch_tokens or (None,):
                varied: dict[str, Any] = {}
                if factor is not None:
                    varied["training.lr"] = _times(study.training.lr, factor)
                if batch is not None:
                    varied["training.batch_tokens"] = batch
                yield replace(point, values={**point.values, **varied})


def answers(options: Sweep) -> tuple[dict[str, Any], ...]:
    """The best of what is swept."""
    swept = {"lr": options.lr_factors, "batch_tokens": options.batch_tokens}
    return tuple(optimum(axis) for axis, values in swept.items() if len(values) > 1)


def _times(lr: float | PowerRule, factor: float) -> Any:
    if isinstance(lr, PowerRule):
        return {**asdict(lr), "value": float(f"{lr.value * factor:.6g}")}
    return float(f"{lr * factor:.6g}")


register(
    Design(
        name="sweep",
        options=Sweep,
        points=points,
        answers=answers,
        figures=("optimum",),
    )
)
