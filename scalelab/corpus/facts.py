"""A stream of facts with Zipf frequencies: its probabilities, its entropy, its ideal learner.

The construction is that of Hutter 2021 (arXiv:2102.04074, "Learning curve theory"): features with
p_k ~ k^-(1+a), each with a label that is learned when the feature is seen. The error after n draws
is the mass of what is unseen, which falls as n^-(a/(1+a)). Michaud et al. 2023 (arXiv:2303.13506,
section 2) and Cabannes et al. 2024 (arXiv:2310.02984) have the same law for quanta and for
associative memories. Losses here are logarithmic, so that they have a floor.
"""

import math
import string
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from scalelab.corpus.tokenizer import SEPARATOR
from scalelab.plan.synthetic import DOCUMENT_TOKENS, FACTS
from scalelab.seeds import stream

LETTERS = string.ascii_letters
VALUES = "".join(mark for mark in string.punctuation if mark != "'")
"""A fact is a key of two letters and a value, one mark. The apostrophe is left out: the tokenizer
splits some letters off after it."""
MOST_KEYS = len(LETTERS) ** 2
FACT_TOKENS = 2
"""A key is one token of the tokenizer (`key_words`), and so is a value."""
MOST_SEEN = 60
"""Draws of one key after which the ideal learner's cost is taken as nothing."""


@dataclass(frozen=True)
class Truth:
    """What is known of a stream before any model is trained."""

    entropy_nats: float
    """Entropy rate E in nats/token, separators included: the floor of the held-out loss."""
    key_nats: float
    """Its part that the keys bring, nats/token."""
    value_nats: float
    """Its part that the noise of the values brings, nats/token."""
    separator_nats: float
    """Its part that the ends of documents bring, nats/token."""
    separator_slack_nats: float
    """How far a model may come below that, nats/token: one that sees 128 tokens knows that the
    document did not begin within them."""
    exponent_tokens: float
    """Exponent of D of the loss above the floor, a / (1 + a), for a learner that needs equally many
    views of each key."""


def probabilities(keys: int, zipf: float) -> np.ndarray:
    """p_k ~ k^-(1 + zipf) for k = 1 to `keys`, shape (keys,)."""
    weights = np.arange(1, keys + 1, dtype=np.float64) ** -(1 + zipf)
    return np.asarray(weights / weights.sum())


def noisy_values(noise: float) -> np.ndarray:
    """Probability of each value of a key, its own first, shape (values,).

    With probability `noise` a value is drawn evenly from all, the key's own included.
    """
    law = np.full(len(VALUES), noise / len(VALUES))
    law[0] += 1 - noise
    return law


def entropy(law: np.ndarray) -> float:
    """-sum p ln p in nats; a probability of 0 counts as nothing."""
    law = law[law > 0]
    return 0.0 - float((law * np.log(law)).sum())


def truth(settings: dict[str, Any], window: int = 128) -> Truth:
    """Entropy rate and exponent of the stream of `settings` (`SyntheticConfig` as a dict).

    A fact is drawn independently of all others, so that its entropy is that of its key plus that of
    its value given the key. A document has `FACTS` facts. To a model that does not know how long
    ago it began, its end comes with probability 1/FACTS after each fact, and costs
    FACTS h(1/FACTS) nats a document, where h is the binary entropy. A model that sees `window`
    tokens without a separator knows that the document has gone on for as long: the chance is
    1/(FACTS - window/2) then, and it saves less than ln(FACTS / (FACTS - window/2)) nats.
    """
    key = entropy(probabilities(settings["keys"], settings["zipf"]))
    value = entropy(noisy_values(settings["noise"]))
    end = FACTS * entropy(np.array([1 / FACTS, 1 - 1 / FACTS]))
    parts = np.array([FACTS * key, FACTS * value, end]) / DOCUMENT_TOKENS
    slack = -math.log1p(-window / FACT_TOKENS / FACTS) / DOCUMENT_TOKENS
    exponent = settings["zipf"] / (1 + settings["zipf"])
    return Truth(
        entropy_nats=float(parts.sum()),
        key_nats=float(parts[0]),
        value_nats=float(parts[1]),
        separator_nats=float(parts[2]),
        separator_slack_nats=slack,
        exponent_tokens=exponent,
    )


def token_costs(settings: dict[str, Any], tokenizer: Tokenizer, ids: np.ndarray) -> np.ndarray:
    """-ln of the true probability of each token of a text after its first, nats, (tokens - 1,).

    The first token is a separator, as in a held-out split. The mean is the floor of the loss on
    this very text: what it has by chance above or below the entropy rate is in it. Documents end
    with probability 1/FACTS after each fact (see `truth`).
    """
    law = probabilities(settings["keys"], settings["zipf"])
    chance = noisy_values(settings["noise"])
    own = values_of(settings["keys"], settings["seed"])
    number = tokenizer.get_vocab()
    key_at, value_at = np.full(len(number), -1), np.full(len(number), -1)
    key_at[[number[word] for word in key_words(settings["keys"])]] = range(len(law))
    value_at[[number[mark] for mark in VALUES]] = range(len(VALUES))
    before, now = ids[:-1], ids[1:]
    costs = np.full(len(now), math.log(FACTS))  # of a separator
    key = key_at[now] >= 0
    opening = np.where(before[key] == number[SEPARATOR], 0.0, math.log1p(-1 / FACTS))
    costs[key] = -np.log(law[key_at[now[key]]]) - opening
    value = value_at[now] >= 0
    right = own[key_at[before[value]]] == value_at[now[value]]
    with np.errstate(divide="ignore"):  # a wrong value without noise cannot come
        costs[value] = -np.log(np.where(right, chance[0], chance[1]))
    return costs


def known(
    settings: dict[str, Any], tokenizer: Tokenizer, held: dict[str, np.ndarray]
) -> dict[str, float]:
    """`truth` as a dict, and `floor_NAME_nats`: the floor on each held-out split itself."""
    floors = {
        f"floor_{name}_nats": float(token_costs(settings, tokenizer, ids).mean())
        for name, ids in held.items()
    }
    return {**asdict(truth(settings)), **floors}


def key_words(keys: int) -> list[str]:
    """The spelling of each key, the most frequent first."""
    return [LETTERS[k // len(LETTERS)] + LETTERS[k % len(LETTERS)] for k in range(keys)]


def values_of(keys: int, seed: int) -> np.ndarray:
    """The number of each key's value, drawn evenly and independently, shape (keys,)."""
    draws = uniform(stream(seed, "synthetic values"), keys)
    return np.asarray((draws * len(VALUES)).astype(np.int64))


def uniform(seed: int, count: int) -> np.ndarray:
    """Numbers in [0, 1) with 53 bits each, shape (count,)."""
    raw = np.random.PCG64(seed).random_raw(count)
    return np.asarray((raw >> np.uint64(11)) * 2.0**-53)


def ideal_excess(
    settings: dict[str, Any],
    tokens: np.ndarray,
    exposures: float = 1.0,
    draws: int = 4000,
) -> np.ndarray:
    """Loss above the floor of an ideal learner after `tokens` training tokens, nats/token.

    The learner knows how often each key comes and how often a value is noise, and holds every value
    of a key that it has not seen for equally likely: it is Bayesian. After n facts it has seen key
    k a Poisson number of times with mean n p_k / `exposures`, so `exposures` = 10 is a learner that
    needs ten views where the Bayesian needs one. The cost of a draw after m views of its key is
    found by simulation of `draws` histories (a fixed seed); without noise it is ln(values) for
    m = 0 and nothing after.

    Args:
        settings: `SyntheticConfig` as a dict.
        tokens: training tokens D, shape (points,).

    Returns:
        Nats/token, shape (points,).
    """
    law = probabilities(settings["keys"], settings["zipf"])
    cost = view_costs(settings["noise"], draws)
    facts = np.asarray(tokens, dtype=np.float64) * FACTS / DOCUMENT_TOKENS
    mean = facts[:, None] * law / exposures
    total = np.zeros(len(facts))
    chance = np.exp(-mean)  # Poisson, from m = 0 up
    for seen, nats in enumerate(cost):
        total += (chance * law).sum(1) * nats
        chance = chance * mean / (seen + 1)
    return total * FACTS / DOCUMENT_TOKENS


def view_costs(noise: float, draws: int) -> np.ndarray:
    """Mean cost above the entropy of a value after m views of its key, nats, shape (MOST_SEEN,).

    The posterior of value v is proportional to ratio^count(v), where ratio is the probability of
    the own value over that of another one; the prediction is the mean of the laws of all values.
    """
    size = len(VALUES)
    law = noisy_values(noise)
    if noise == 0:
        return np.array([math.log(size)] + [0.0] * (MOST_SEEN - 1))
    generator = np.random.default_rng(0)
    cost = np.empty(MOST_SEEN)
    counts = np.zeros((draws, size))
    for seen in range(MOST_SEEN):
        score = counts * math.log(law[0] / law[1])
        weight = np.exp(score - score.max(1, keepdims=True))
        weight /= weight.sum(1, keepdims=True)
        predicted = law[1] + (law[0] - law[1]) * weight
        cost[seen] = float((law * np.log(law / predicted)).sum(1).mean())
        counts[np.arange(draws), generator.choice(size, draws, p=law)] += 1
    return cost
