"""Items of scalelab's own tasks, made from held-out documents: pure text, no model.

A document gives at most one item of a task, so items are the independent draws. Requests are pairs
of a beginning and how it goes on, as lm-evaluation-harness asks them.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

Count = Callable[[str], int]
"""How many tokens a text has."""

SENTENCE = re.compile(r"(?<!\S)[A-Z][^\n.!?]*(?:(?<!:)\n[^\S\n]*[\w`'\"(][^\n.!?]*)*\.(?=\s|$)")
"""From a capital to a full stop before white space, on lines of words that follow one another."""
WORD = re.compile(r"\S+")
PLAIN = re.compile(r"[A-Za-z]{2,}$")
PROSE = 0.9
"""Share of a sentence's characters that are letters, spaces or commas: others are code."""
BETWEEN = "\n\n"
"""Between a passage and what is asked about it."""
GAPS = (" ", "\n", "\n\n")
"""What may stand between two sentences that follow one another."""
WORDS = 5
"""Of a sentence, at least."""
SPAN_WORDS = 2
CHOICES = 4
SPARE = 8
"""Tokens that an answer may be longer than the right one."""


@dataclass(frozen=True)
class Item:
    """What a model is asked at once."""

    requests: tuple[tuple[str, str], ...]
    """Beginnings, and continuations whose probability is wanted."""
    answer: str = ""
    """What it is to write after the first beginning; empty where it writes nothing."""
    tokens: int = 1
    """Of the first continuation."""


def sentences(text: str) -> list[re.Match[str]]:
    """Sentences of prose of a document, where they stand."""
    return [found for found in SENTENCE.finditer(text) if _is_prose(found.group())]


def cloze(texts: Sequence[str], count: Count, context: int) -> Iterator[Item]:
    """The last word of a sentence, given the document up to it (LAMBADA: Paperno et al. 2016).

    The last sentence that ends within the context, its last word of four letters or more.
    """
    for text in texts:
        for sentence in reversed(sentences(text)):
            *before, last = WORD.finditer(text, 0, sentence.end() - 1)
            if len(last.group()) < 4 or not PLAIN.match(last.group()) or len(before) < 8:
                continue
            given, answer = text[: before[-1].end()], text[before[-1].end() : last.end()]
            tokens = count(given + answer)
            if tokens <= context:
                yield Item(((given, answer),), tokens=max(1, tokens - count(given)))
                break


def choice(texts: Sequence[str], count: Count, context: int) -> Iterator[Item]:
    """The last word of a sentence among four: its own, and those of the next three documents that
    have others (as the Children's Book Test has ten: Hill et al. 2016, arXiv:1511.02301).

    A word is the right one of one item and a wrong one of three, so that words by themselves help
    no one.
    """
    found = [item.requests[0] for item in cloze(texts, count, context)]
    for place, (given, answer) in enumerate(found):
        others = dict.fromkeys(other for _, other in found[place + 1 :] + found[:place])
        wrong = [other for other in others if other.split() != answer.split()][: CHOICES - 1]
        told = [answer, *(answer[: -len(answer.lstrip())] + other.lstrip() for other in wrong)]
        if len(told) == CHOICES and all(count(given + one) <= context for one in told):
            yield Item(tuple((given, one) for one in told))


def span(texts: Sequence[str], count: Count, context: int) -> Iterator[Item]:
    """A span of a passage, asked for by the words that stand before it there.

    The question is a sentence of the passage once more, without its last two words: a cloze in the
    place of a question of people (Lewis et al. 2019, arXiv:1906.04980). The second beginning has
    the passage without that sentence.
    """
    for text in texts:
        found = sentences(text)
        for place, sentence in enumerate(found):
            passage = text[: found[min(place + 1, len(found) - 1)].end()]
            words = list(WORD.finditer(sentence.group()[:-1]))
            answered = words[-SPAN_WORDS:]
            if not all(PLAIN.match(word.group()) for word in answered):
                continue
            cut = words[-SPAN_WORDS - 1].end()
            asked, answer = sentence.group()[:cut], sentence.group()[cut:-1]
            without = text[: sentence.start()] + text[sentence.end() : len(passage)]
            given = passage + BETWEEN + asked
            tokens = count(given + answer)
            if tokens + SPARE <= context and without.strip():
                other = without.strip() + BETWEEN + asked
                size = max(1, tokens - count(given))
                yield Item(((given, answer), (other, answer)), answer, size)
                break


def acceptable(
    texts: Sequence[str], count: Count, context: int, rng: np.random.Generator
) -> Iterator[Item]:
    """A sentence, and the same with two neighbouring words swapped (as pairs of BLiMP: Warstadt et
    al. 2020). Neither is its first or last word."""
    for text in texts:
        for sentence in sentences(text):
            whole = sentence.group()
            words = list(WORD.finditer(whole))[1:-1]
            pairs = [
                (one, two)
                for one, two in itertools.pairwise(words)
                if all(PLAIN.match(word.group()) for word in (one, two))
                and one.group().lower() != two.group().lower()
            ]
            if not pairs or count(whole) + SPARE > context:
                continue
            one, two = pairs[int(rng.integers(len(pairs)))]
            swapped = (
                whole[: one.start()]
                + two.group()
                + whole[one.end() : two.start()]
                + one.group()
                + whole[two.end() :]
            )
            yield Item((("", whole), ("", swapped)))
            break


def follows(
    texts: Sequence[str], count: Count, context: int, rng: np.random.Generator
) -> Iterator[Item]:
    """Which of two sentences comes next: that of the same document, or that of another.

    Two documents make one item: both second sentences in their places against each in the other's,
    so that how likely they are by themselves counts on both sides. Both documents have the same
    white space between their sentences.
    """
    found: dict[str, list[tuple[str, str]]] = {gap: [] for gap in GAPS}
    for text in texts:
        here = sentences(text)
        for one, two in itertools.pairwise(here):
            gap = text[one.end() : two.start()]
            if gap in GAPS and count(one.group() + gap + two.group()) <= context:
                found[gap].append((one.group(), gap + two.group()))
                break
    for pairs in found.values():
        order = rng.permutation(len(pairs))
        for at in range(0, len(order) - 1, 2):
            (a, after_a), (b, after_b) = pairs[order[at]], pairs[order[at + 1]]
            if count(a + after_b) <= context and count(b + after_a) <= context:
                yield Item(((a, after_a), (b, after_b), (a, after_b), (b, after_a)))


def _is_prose(sentence: str) -> bool:
    letters = sum(one.isalpha() or one in " ,\n" for one in sentence)
    words = len(sentence.split())
    return words >= WORDS and letters >= PROSE * len(sentence)
