"""Question answering and understanding: each task by a continuous and by a thresholded score.

A threshold alone can make a smooth gain look sudden (Schaeffer et al. 2023, arXiv:2304.15004). Five
tasks are made from the held-out text itself; others are those of lm-evaluation-harness by name.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from scalelab.evaluation.measures import FEWEST, Estimate, NotMeasured, Subject, measure
from scalelab.evaluation.measures import _harness as harness
from scalelab.evaluation.measures import _items as items_of
from scalelab.evaluation.measures._items import Count, Item
from scalelab.plan.tasks import OWN
from scalelab.seeds import stream

Make = Callable[[Sequence[str], Count, int, np.random.Generator], Iterator[Item]]


@measure
def tasks(subject: Subject) -> Mapping[str, Estimate]:
    """NAME_accuracy, NAME_chance and a continuous score of each task of the settings.

    cloze: _nats, nats/token of the word. span: _nats of the answer, _gain_nats over the passage
    without it, _f1. choice, acceptable, follows: _margin_nats, the log-likelihood of the right one
    less that of the best other.
    """
    harness.library()
    if subject.texts is None or subject.folder is None:
        raise NotMeasured("its family has no decoder that writes text with a cache")
    lm = harness.model_of(subject.model, subject.folder, subject.context, subject.separator)
    asked = subject.settings["tasks"]
    found: dict[str, Estimate] = {}
    others = [name for name in asked if name not in OWN]
    named = harness.named_tasks(others, subject.settings.get("tasks_folder")) if others else {}
    made = {name: own(name, subject, lm) for name in asked if name in OWN}
    told = harness.ask(lm, [*made.values(), *named.values()])
    for name in [*made, *named]:
        found |= harness.estimates(name, told)
        if name in OWN:
            found[f"{name}_chance"] = Estimate(OWN[name])
    return found


def own(name: str, subject: Subject, lm: object) -> object:
    """One of scalelab's tasks on the held-out text of a subject.

    Raises:
        NotMeasured: the text has too few items.
    """
    assert subject.texts is not None and subject.decode is not None
    make, score = TASKS[name]
    rng = np.random.default_rng(stream(subject.seed, f"task-{name}"))
    texts = subject.texts()
    texts = [texts[place] for place in rng.permutation(len(texts))]
    count = harness.counter(lm)
    # The separator is one token of the context.
    found = list(make(texts, count, subject.context - 1, rng))[: subject.settings["windows"]]
    if len(found) < FEWEST:
        raise NotMeasured(
            f"{len(found)} items of the task {name} in the held-out text, expected {FEWEST} or more"
        )
    start = subject.decode(np.array([[subject.separator]]))[0]
    return harness.own_task(name, found, score, start)


def _cloze(item: Item, answers: harness.Answers) -> harness.Scores:
    (nats, likeliest), *_ = answers
    return {"nats": -nats / item.tokens, "accuracy": float(likeliest)}


def _span(item: Item, answers: harness.Answers) -> harness.Scores:
    (nats, _), (without, _), written = answers
    right = harness.words_of(written) == harness.words_of(item.answer)
    return {
        "nats": -nats / item.tokens,
        "gain_nats": (nats - without) / item.tokens,
        "accuracy": float(right),
        "f1": harness.overlap(written, item.answer),
    }


def _acceptable(item: Item, answers: harness.Answers) -> harness.Scores:
    (good, _), (bad, _), *_ = answers
    return {"margin_nats": good - bad, "accuracy": _above(good, bad)}


def _choice(item: Item, answers: harness.Answers) -> harness.Scores:
    """The margin is over the best of the others."""
    right, *others = (nats for nats, _ in answers[: len(item.requests)])
    return {"margin_nats": right - max(others), "accuracy": _above(right, max(others))}


def _follows(item: Item, answers: harness.Answers) -> harness.Scores:
    """Both sentences in their places against both in each other's."""
    (a, _), (b, _), (a_then_b, _), (b_then_a, _), *_ = answers
    right, wrong = a + b, a_then_b + b_then_a
    return {"margin_nats": right - wrong, "accuracy": _above(right, wrong)}


def _above(one: float, two: float) -> float:
    """Whether a choice wins; a tie is half of it, as by a coin."""
    return float(one > two) + float(one == two) / 2


def _without_draws(make: Callable[[Sequence[str], Count, int], Iterator[Item]]) -> Make:
    return lambda texts, count, context, _: make(texts, count, context)


TASKS: dict[str, tuple[Make, Callable[[Item, harness.Answers], harness.Scores]]] = {
    "cloze": (_without_draws(items_of.cloze), _cloze),
    "choice": (_without_draws(items_of.choice), _choice),
    "span": (_without_draws(items_of.span), _span),
    "acceptable": (items_of.acceptable, _acceptable),
    "follows": (items_of.follows, _follows),
}
