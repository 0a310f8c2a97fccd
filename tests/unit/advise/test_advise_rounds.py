"""Rounds of an adaptive study, on losses made by a known law."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scalelab.advise.rounds import Round, first, following, half_width
from scalelab.config import parse
from scalelab.errors import UserError
from scalelab.plan.runs import Plan, build

E, A, ALPHA, B, BETA = 1.8, 30.0, 0.35, 60.0, 0.37


def plan(**adaptive: Any) -> Plan:
    """Thirty runs, of which an adaptive study chooses."""
    study = {
        "study": "rounds",
        "corpus": {"packages": ["stdlib"], "tokenizer": "bytes"},
        "model": {"depth": 1, "context": 16},
        "ladder": {"widths": [8, 16, 32, 64, 128, 256]},
        "design": {"kind": "grid", "tokens": ["50k", "200k", "1M", "4M", "20M"]},
        "training": {"batch_tokens": 64},
        "adaptive": {"until": {"alpha": 0.05}, **adaptive},
    }
    return build(parse(study))


def table(of: Plan, ids: Sequence[str], noise: float = 0.003) -> pd.DataFrame:
    """Their losses by the law, with noise that a run always has alike."""
    runs = [run for run in of.runs if run.id in set(ids)]
    rows = []
    for run in runs:
        error = np.random.default_rng(int(run.id[:8], 16)).normal() * noise
        loss = E + A * run.counts.n**-ALPHA + B * run.tokens**-BETA
        rows.append(
            {
                "label": run.label,
                "N": run.counts.n,
                "D": run.tokens,
                "C": run.flops,
                "loss_nats": loss * np.exp(error),
                "status": "ok",
            }
        )
    return pd.DataFrame(rows)


def rounds(of: Plan) -> list[Round]:
    """All rounds until one stops."""
    found = [first(of)]
    while found[-1].stop is None:
        before = found[-1].to_json()
        found.append(following(of, before, table(of, before["runs"])))
        assert len(found) < 40
    return found


def test_the_first_runs_are_cheap_and_spread() -> None:
    of = plan(start=8)
    began = first(of)
    runs = [run for run in of.runs if run.id in began.runs]
    assert len(runs) == 8
    assert began.stop is None
    cheap = sorted(run.flops for run in of.runs)[: len(of.runs) // 2]
    assert max(run.flops for run in runs) <= cheap[-1]
    assert len({run.counts.n for run in runs}) >= 3
    assert len({run.tokens for run in runs}) >= 3


def test_rounds_go_on_until_the_interval_is_as_narrow_as_asked_for() -> None:
    of = plan(start=8, runs_per_round=2)
    found = rounds(of)
    assert found[-1].stop == "every interval is as narrow as asked for"
    assert found[-1].added == ()
    width = found[-1].widths["alpha"]
    assert width is not None
    assert width <= 0.05
    assert width == half_width(table(of, found[-1].runs), "chinchilla", "alpha")
    assert len(found[-1].runs) < len(of.runs), "it takes fewer runs than the whole design"
    for one in found[1:-1]:
        assert not (one.widths["alpha"] or 9) <= 0.05


def test_rounds_end_where_the_budget_or_the_design_does() -> None:
    of = plan(start=8, until={"alpha": 1e-9})
    costs = sorted(run.flops for run in of.runs)
    cheapest = first(of)
    tight = plan(start=8, until={"alpha": 1e-9}, max_flops=cheapest.flops + costs[0] / 2)
    before = first(tight).to_json()
    told = following(tight, before, table(tight, before["runs"]))
    assert told.stop == "no run of the design is left within adaptive.max_flops"
    everything = {"number": 3, "runs": [run.id for run in of.runs], "flops": 1.0}
    told = following(of, everything, table(of, everything["runs"]))
    assert told.stop == "all runs of the design are trained"


def test_without_a_fit_the_cheapest_follow() -> None:
    of = plan(start=4)
    before = first(of).to_json()
    told = following(of, before, table(of, before["runs"]))
    assert told.told.startswith("the cheapest runs left, since nothing can be chosen by")
    rest = [run for run in of.runs if run.id not in before["runs"]]
    (added,) = told.added
    assert added == min(rest, key=lambda run: (run.flops, run.id)).id


def test_what_cannot_be_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"adaptive\.max_flops: found 1, but the first 6 runs"):
        first(plan(max_flops=1))
    of = plan(start=12, until={"gamma": 0.1})
    before = first(of).to_json()
    with pytest.raises(UserError, match=r"expected one of A, B, .*alpha, beta"):
        following(of, before, table(of, before["runs"]))
    with pytest.raises(UserError, match=r"adaptive\.start"):
        plan(start=2)
