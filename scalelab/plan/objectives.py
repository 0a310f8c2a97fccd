"""What a family is trained to predict, and what its held-out loss therefore is.

The losses of different objectives are different quantities: they have no axis in common and no law
in common (`scalelab.laws.runs.rows`). How many tokens of a block are predicted is counted here,
without torch; which ones is drawn in `scalelab.models.corruption`.
"""

from dataclasses import dataclass

MASKED = 0.15
"""Share of the tokens that are hidden, of masked models (Devlin et al. 2019, section 3.1) and of
those with spans (Raffel et al. 2020, section 3.1.4)."""
SPAN = 3
"""Mean tokens of a span (there, section 3.3.4)."""


@dataclass(frozen=True)
class Objective:
    """An objective and the quantity that is its held-out loss."""

    name: str
    quantity: str
    """Value of the column `quantity` of runs.csv."""
    title: str
    """The loss as an axis calls it."""
    meaning: str
    """What it is, in a sentence without its end."""


CAUSAL = Objective(
    "causal",
    "next_token",
    "held-out loss",
    "the mean over all tokens of -ln p of each given those before it",
)
MASKED_TOKENS = Objective(
    "masked",
    "pseudo",
    "held-out pseudo-loss",
    "the mean over evenly chosen tokens of -ln p of each given those on both sides of it; exp of "
    "it is the pseudo-perplexity (Salazar et al. 2020, eq. 3), which is no probability of the text",
)
SPANS = Objective(
    "spans",
    "conditional",
    "held-out conditional loss",
    "the mean over the tokens of cut-out spans of -ln p of each given the text around the spans "
    "and the span's tokens before it",
)
OBJECTIVES = {one.name: one for one in (CAUSAL, MASKED_TOKENS, SPANS)}
QUANTITIES = {one.quantity: one for one in OBJECTIVES.values()}


def hidden_tokens(context: int) -> int:
    """Tokens of a block that are hidden: 15%, one at least, never all."""
    return max(1, min(round(MASKED * context), context - 1))


def spans(context: int) -> int:
    """Spans that the hidden tokens of a block make: so many that their mean is 3 tokens."""
    hidden = hidden_tokens(context)
    return max(1, min(round(hidden / SPAN), context - hidden))


def encoded_tokens(context: int) -> int:
    """Tokens that an encoder reads of a block whose spans are cut out: one stands for each."""
    return context - hidden_tokens(context) + spans(context)


def decoded_tokens(context: int) -> int:
    """Tokens that a decoder predicts: each span after the token that stands for it, and an end."""
    return hidden_tokens(context) + spans(context) + 1


def predicted_tokens(objective: str, context: int) -> int:
    """Tokens of a block of `context` whose loss is taken in training."""
    found = {"causal": context, "masked": hidden_tokens(context), "spans": decoded_tokens(context)}
    return found[objective]
