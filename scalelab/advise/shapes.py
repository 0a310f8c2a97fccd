"""Clean shapes: widths of whole heads, depth in proportion to width."""

from dataclasses import dataclass

from scalelab.plan.families import Counts, Shape, count

ASPECT = 64
"""Width over depth of larger models: GPT-2 has 64 to 77 (Radford et al. 2019), and loss hardly
depends on it within a factor of a few (Kaplan et al. 2020, section 3.1)."""
SHALLOW = 3
"""Blocks of the smallest models: fewer than two cannot copy from their context (Olsson et al. 2022,
arXiv:2209.11895)."""
WIDEST = 8192
STEPS = ((64, 8, 8), (128, 16, 16), (256, 32, 32), (2048, 64, 64), (WIDEST, 256, 128))
"""(widths up to, width step, head size); steps are whole heads."""
CONTEXTS = ((1e6, 128), (1e7, 256), (1e8, 512), (1e9, 1024))
"""(largest N below, context): short for small models, which make little of a long one."""
VOCABULARIES = ((1e6, 512), (1e7, 4096))
"""(largest N below, vocabulary), so that a model is not all embedding."""


@dataclass(frozen=True)
class Size:
    """A shape and its counts."""

    shape: Shape
    counts: Counts

    @property
    def n(self) -> int:
        """N."""
        return self.counts.n


def settings_for(n: float) -> tuple[int, int]:
    """Context and vocabulary of a study whose largest model has N parameters."""
    context = next((value for below, value in CONTEXTS if n < below), 2048)
    vocabulary = next((value for below, value in VOCABULARIES if n < below), 32768)
    return context, vocabulary


def ladder(context: int, vocab: int, family: str = "gpt2") -> list[Size]:
    """All clean shapes, ascending in N, from 1e4 to about 3e10 parameters."""
    found, widest = [], 15
    for until, step, head in STEPS:
        for width in range((widest // step + 1) * step, until + 1, step):
            depth = max(SHALLOW, round(width / ASPECT))
            shape = Shape(family, depth, width, max(2, width // head), context, vocab)
            found.append(Size(shape, count(shape)))
        widest = until
    return found
