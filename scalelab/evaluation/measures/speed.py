"""How many tokens a second a trained model writes in forms that are really computed as such.

fp32, bf16, fp16, int8 by torch's kernels, and MLPs that are narrower by the channels that `pruned`
zeroes (`_forms`). Written by the decoder with a cache that `generation` uses. Sparsity by single
weights or by two of four is left out: torch has no kernels of it for processors. The forms take
turns in rounds, each round from another form on, with a yardstick among them: one small model that
is the same for all runs, so that what else a machine does at the time can be told from a model.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from scalelab.evaluation.columns import SPEED, YARDSTICK
from scalelab.evaluation.measures import Estimate, NotMeasured, Subject, mean_of, measure
from scalelab.evaluation.measures._forms import forms
from scalelab.evaluation.measures._weights import window_losses
from scalelab.evaluation.measures._writing import Beginnings, go_on

ROUNDS = {1: 15, 64: 5}
"""Timed, by how many texts are written at once; one more before them is to warm up."""
SHAPE: dict[str, Any] = {
    "n_layer": 3,
    "n_embd": 64,
    "n_head": 2,
    "n_positions": 128,
    "vocab_size": 512,
}
"""Of the yardstick."""


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
    asked[YARDSTICK] = yardstick(subject)
    for count, rounds in ROUNDS.items():
        jobs, tokens = {}, {}
        for name, one in asked.items():
            given = max(1, one.context // 8)
            rows = np.resize(one.windows[:, : 1 + given], (count, 1 + given))
            jobs[name] = partial(go_on, one.model, Beginnings(rows, 2 * given, one.separator))
            tokens[name] = count * 2 * given
        seconds = in_turn(jobs, rounds, clock_for(subject.model))
        for name, rate in rates(seconds, tokens).items():
            found[f"{name}_{count}{SPEED}"] = rate
    return found


def yardstick(subject: Subject) -> Subject:
    """A model that is the same for all, where the subject's is, before windows of its own."""
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = GPT2LMHeadModel(GPT2Config(**SHAPE, bos_token_id=0, eos_token_id=0))
    context, vocabulary = SHAPE["n_positions"], SHAPE["vocab_size"]
    windows = np.random.default_rng(0).integers(1, vocabulary, (64, context + 1))
    device = next(subject.model.parameters()).device
    return replace(subject, model=model.to(device).eval(), windows=windows, separator=0)


def in_turn(
    jobs: Mapping[str, Callable[[], Any]], rounds: int, clock: Callable[[], float]
) -> dict[str, np.ndarray]:
    """Seconds of each job in each round, (rounds,)."""
    names = list(jobs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(1 + rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            began = clock()
            jobs[name]()
            seconds[name].append(clock() - began)
    return {name: np.array(taken[1:]) for name, taken in seconds.items()}


def rates(seconds: Mapping[str, np.ndarray], tokens: Mapping[str, int]) -> Mapping[str, Estimate]:
    """Tokens a second: the median of the yardstick, and of the others the median of how many times
    as quick as it they were in the same round, times that."""
    pace = median_of(tokens[YARDSTICK] / seconds[YARDSTICK])
    found = {}
    for name, taken in seconds.items():
        times = median_of(tokens[name] / taken * seconds[YARDSTICK] / tokens[YARDSTICK])
        found[name] = Estimate(pace.value * times.value, pace.value * (times.se or 0.0))
    return {**found, YARDSTICK: pace}


def clock_for(model: Any) -> Callable[[], float]:
    """The processor's time of one thread, which other jobs disturb less; else the clock."""
    alone = next(model.parameters()).device.type == "cpu" and torch.get_num_threads() == 1
    return time.process_time if alone else time.perf_counter


def median_of(values: np.ndarray) -> Estimate:
    """The median and its standard error, from the quartiles: McGill, Tukey and Larsen 1978,
    section 7."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return Estimate(float(middle), float(1.25 * (high - low) / (1.35 * np.sqrt(len(values)))))
