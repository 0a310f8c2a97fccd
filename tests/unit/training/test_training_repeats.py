"""Repeated data: U distinct tokens, each once an epoch, in an order of its own."""

import numpy as np
import pytest

from scalelab.errors import UserError
from scalelab.training.batches import Batches

TOKENS = np.arange(10_001, dtype=np.uint16)


def firsts(batches: Batches, steps: range) -> list[int]:
    """The first token of each sequence, which names its block."""
    return [int(row[0]) for step in steps for row in batches.step(step)[0]]


def test_each_epoch_sees_each_block_once_in_an_order_of_its_own() -> None:
    once = Batches(TOKENS, 10, 40, 3)
    repeated = Batches(TOKENS, 10, 40, 3, unique_tokens=200)
    epochs = [firsts(repeated, range(5 * k, 5 * k + 5)) for k in range(3)]
    assert epochs[0] == firsts(once, range(5)), "the first epoch is that of a run without repeats"
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(epochs[2])
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_a_step_may_reach_over_the_end_of_an_epoch_and_is_found_alone() -> None:
    batches = Batches(TOKENS, 10, 40, 3, unique_tokens=60)
    order = firsts(batches, range(9))
    assert sorted(order[:6]) == sorted(order[6:12]) == sorted(order[12:18])
    again = Batches(TOKENS, 10, 40, 3, unique_tokens=60)
    assert firsts(again, range(7, 8)) == order[28:32], "what resuming needs"


def test_the_corpus_needs_the_distinct_tokens_alone() -> None:
    Batches(TOKENS, 10, 40, 3, unique_tokens=10_000).require(10_000)
    with pytest.raises(UserError, match=r"set training\.unique_tokens to repeat it"):
        Batches(TOKENS, 10, 40, 3).require(10_000)
    with pytest.raises(UserError, match="20,000 training tokens"):
        Batches(TOKENS, 10, 40, 3, unique_tokens=20_000).require(10_000)
