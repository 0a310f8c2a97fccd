"""Tones with noise as levels of a signal: a document is a stretch of sound, made here.

A tone has partials, glides a little, and stands in coloured noise. It is compressed as telephony
does (mu-law, ITU-T G.711, with the continuous curve in place of its line segments) and rounded to
levels.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from scalelab.corpus.documents import Document, Tally
from scalelab.corpus.facts import uniform
from scalelab.corpus.sources import Report, source
from scalelab.corpus.tokenizer import SEPARATOR
from scalelab.seeds import stream

SAMPLES = 1000
"""Of a document: an eighth of a second."""
RATE = 8000
"""Samples a second."""
LEVELS = 32
FIRST = ord("0")
"""Character of the lowest level; the others follow it in ASCII."""
MU = 255.0
"""Of mu-law in G.711."""
PARTIALS = 6
PITCH = (80.0, 800.0)
"""Hz, even in the logarithm."""
GLIDE = 0.02
"""Largest deviation of the pitch, as a share."""
LOUD = (0.05, 0.7)
"""Peak of the tone, even in the logarithm; 1 is full scale."""
NOISE = (0.003, 0.05)
"""Standard deviation of the noise's innovations over the peak, even in the logarithm."""
COLOUR = 0.9
"""Largest coefficient of the noise's recursion."""
KEY = 64
"""Samples that tell documents apart."""
REPORT_EVERY = 2000


@dataclass(frozen=True)
class Sound:
    """A document before it is text, each (SAMPLES,)."""

    levels: np.ndarray
    """0 to LEVELS - 1."""
    expected: np.ndarray
    """Mean of each sample given the tone and the noise before it."""
    spread: float
    """Standard deviation of a sample around it."""


def compress(signal: np.ndarray) -> np.ndarray:
    """Mu-law, sign(x) ln(1 + mu |x|) / ln(1 + mu) (ITU-T G.711; van den Oord et al. 2016, section
    2.2), of x in [-1, 1]."""
    return np.sign(signal) * np.log1p(MU * np.minimum(np.abs(signal), 1)) / math.log1p(MU)


def expand(value: np.ndarray) -> np.ndarray:
    """The inverse of `compress`."""
    return np.sign(value) * np.expm1(np.abs(value) * math.log1p(MU)) / MU


def sound(number: int) -> Sound:
    """The tone and noise of a document, from a stream of its own."""
    from scipy.signal import lfilter
    from scipy.special import ndtri

    draw = uniform(stream(0, f"series document {number}"), 8 + PARTIALS + SAMPLES)
    about, phases, raw = draw[:8], draw[8 : 8 + PARTIALS], draw[8 + PARTIALS :]
    pitch, peak, noise = (
        low * (high / low) ** share
        for (low, high), share in zip((PITCH, LOUD, NOISE), about[:3], strict=True)
    )
    time = np.arange(SAMPLES) / RATE
    glide = GLIDE * about[3] * np.sin(2 * np.pi * ((4 + 4 * about[4]) * time + about[5]))
    turns = np.cumsum(pitch * (1 + glide)) / RATE
    order = np.arange(1, PARTIALS + 1)[pitch * (1 + GLIDE) * np.arange(1, PARTIALS + 1) < RATE / 2]
    weights = order ** -(1 + about[6])
    waves = np.sin(2 * np.pi * (order * turns[:, None] + phases[: len(order)]))
    tone = waves @ (peak * weights / weights.sum())
    spread, colour = float(noise * peak), COLOUR * about[7]
    innovations = spread * ndtri(np.clip(raw, 2.0**-54, None))
    hiss = lfilter([1.0], [1.0, -colour], innovations)
    shares = (compress(tone + hiss) + 1) / 2
    levels = np.minimum((shares * LEVELS).astype(np.int64), LEVELS - 1)
    return Sound(levels, tone + hiss - innovations, spread)


def costs(made: Sound) -> np.ndarray:
    """-log2 p of each sample to an observer who knows the tone and the noise before, (SAMPLES,).

    That observer knows more than the levels tell, so that its mean is below the entropy rate.
    """
    from scipy.special import log_ndtr

    edges = expand(2 * np.arange(LEVELS + 1) / LEVELS - 1)
    edges[0], edges[-1] = -np.inf, np.inf  # louder than full scale is the last level
    low, high = ((edges[made.levels + step] - made.expected) / made.spread for step in (0, 1))
    # Of two tails, the one that is small: differences of numbers near 1 lose their digits.
    flip = low > 0
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    upper, lower = log_ndtr(high), log_ndtr(low)
    return np.asarray(-(upper + np.log1p(-np.exp(lower - upper))) / math.log(2))


def spelled(levels: np.ndarray) -> str:
    """Levels as text."""
    return (levels + FIRST).astype(np.uint8).tobytes().decode("ascii")


def known(
    config: dict[str, Any], tokenizer: Tokenizer, held: dict[str, np.ndarray]
) -> dict[str, float]:
    """`floor_NAME_bits`: bits a sample of each held-out split to the observer of `costs`."""
    number_of = {spelled(sound(n).levels[:KEY]): n for n in range(_count(config))}
    separator = tokenizer.token_to_id(SEPARATOR)
    found = {}
    for name, ids in held.items():
        pieces = np.split(ids, np.flatnonzero(ids == separator))
        texts = (tokenizer.decode(piece[piece != separator].tolist()) for piece in pieces)
        each = [costs(sound(number_of[one[:KEY]]))[: len(one)] for one in texts if len(one) >= KEY]
        found[f"floor_{name}_bits"] = float(np.concatenate(each).mean())
    return found


@source("series", truth=known)
def series(
    config: dict[str, Any], fingerprint: dict[str, Any], tally: Tally, report: Report
) -> Iterator[Document]:
    """Documents of 1,000 samples until they hold `max_bytes` of them."""
    count = _count(config)
    for number in range(count):
        text = spelled(sound(number).levels)
        tally.add("read", len(text))
        if number % REPORT_EVERY == REPORT_EVERY - 1:
            report(f"corpus: {number + 1:,} of {count:,} documents made")
        yield Document(f"series/{number:06d}", text)


def _count(config: dict[str, Any]) -> int:
    return int(config["max_bytes"]) // SAMPLES
