"""How many tokens a second a trained model writes in forms that are really computed as such.

fp32, bf16, fp16, int8 by torch's kernels, and MLPs that are narrower by the channels that `pruned`
zeroes (`_forms`). Written by the decoder with a cache that `generation` uses. Sparsity by single
weights or by two of four is left out: torch has no kernels of it for processors. The forms take
turns in rounds, each round from another form on, so that what else the machine does meets all.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from scalelab.evaluation.measures import Estimate, NotMeasured, Subject, mean_of, measure
from scalelab.evaluation.measures._forms import forms
from scalelab.evaluation.measures._weights import window_losses
from scalelab.evaluation.measures._writing import write

BATCHES = (1, 64)
"""Texts at once."""
ROUNDS = 5
"""Timed; one more before them is to warm up."""


@measure
def speed(subject: Subject) -> Mapping[str, Estimate]:
    """loss_nats in fp32 and, for each other form, the excess over it (nats/token, paired by
    window); for each form the tokens a second of all texts together, of 1 and of 64 at once: an
    eighth of the context is given and twice as many tokens are written. Medians of rounds."""
    if subject.decode is None:
        raise NotMeasured("its family has no decoder that writes text with a cache")
    asked = {name: replace(subject, model=form) for name, form in forms(subject.model).items()}
    whole = window_losses(asked["fp32"])
    found = {"loss_nats": mean_of(whole)}
    for name in list(asked)[1:]:
        found[f"{name}_excess_nats"] = mean_of(window_losses(asked[name]) - whole)
    given = max(1, subject.context // 8)
    for count in BATCHES:
        rows = np.resize(subject.windows[:, : 1 + given], (count, 1 + given))
        for name, rates in in_turn(asked, rows, 2 * given).items():
            found[f"{name}_{count}_tokens_per_second"] = median_of(rates)
    return found


def in_turn(asked: Mapping[str, Subject], given_WT: np.ndarray, more: int) -> dict[str, np.ndarray]:
    """Tokens a second of each form in each round, (ROUNDS,)."""
    names = list(asked)
    tokens = len(given_WT) * more
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(1 + ROUNDS):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            clock = clock_of(asked[name].model)
            began = clock()
            write(asked[name], given_WT, more, draw=False)
            seconds[name].append(clock() - began)
    return {name: tokens / np.array(taken[1:]) for name, taken in seconds.items()}


def clock_of(model: Any) -> Any:
    """The processor's time of one thread, which other jobs disturb less; else the clock."""
    alone = next(model.parameters()).device.type == "cpu" and torch.get_num_threads() == 1
    return time.process_time if alone else time.perf_counter


def median_of(values: np.ndarray) -> Estimate:
    """The median and its standard error, from the quartiles: McGill, Tukey and Larsen 1978,
    section 7."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return Estimate(float(middle), float(1.25 * (high - low) / (1.35 * np.sqrt(len(values)))))
