"""Seconds, hours and bytes of a plan, against sums done by hand."""

import pytest
from test_plan_runs import plan

from scalelab.plan.estimate import Speed, disk_bytes, estimate, makespan, samples, speed_of
from scalelab.plan.warnings import warnings

SPEED = Speed(((1e3, 1, 1e-5), (1e5, 1, 1e-3)), 2.0)


def test_seconds_a_token_go_in_logs_between_what_was_measured() -> None:
    assert SPEED.seconds_per_token(1e4, 1) == pytest.approx(1e-4)
    assert SPEED.seconds_per_token(1e6, 1) == pytest.approx(1e-2)
    assert SPEED.seconds_per_token(500, 1) == 1e-5, "small steps cost what they cost"
    assert SPEED.seconds_per_token(1e4, 2) == pytest.approx(1e-4), "no such threads: all of them"


@pytest.mark.parametrize(
    ("jobs", "cores", "expected"),
    [
        ([(3.0, 1), (2.0, 1), (1.0, 1)], 2, 3.0),
        ([(3.0, 2), (2.0, 1), (1.0, 1)], 2, 5.0),
        ([(4.0, 8)], 2, 4.0),
        ([], 2, 0.0),
    ],
)
def test_jobs_are_placed_the_longest_first(
    jobs: list[tuple[float, int]], cores: int, expected: float
) -> None:
    assert makespan(jobs, cores) == expected


def test_a_plan_is_the_sum_of_its_jobs() -> None:
    found = plan()
    told = estimate(found, SPEED, cores=1)
    training = sum(
        run.tokens * SPEED.seconds_per_token(run.counts.training_flops, 1) for run in found.runs
    )
    scoring = sum(
        found.study.corpus.test_tokens * SPEED.seconds_per_token(run.counts.training_flops, 1) / 3
        for run in found.runs
    )
    assert sum(told.seconds.values()) == pytest.approx(training)
    assert told.job_seconds == pytest.approx(training + scoring + 4 * 2.0)
    assert told.wall_seconds == pytest.approx(told.job_seconds)


def test_a_shared_trunk_is_charged_once() -> None:
    trunk = {"kind": "wsd", "warmup_tokens": "1k", "cooldown": 0.25}
    tokens = {"design": {"kind": "tokens", "tokens": ["20k", "40k"]}, "training.tokens": None}
    keys = {**tokens, "ladder.widths": [16]}
    alone = estimate(plan({**keys, "training.schedule": trunk}), SPEED, 1)
    shared = plan({**keys, "training.schedule": {**trunk, "share_trunk": True}})
    both = estimate(shared, SPEED, 1)
    rate = SPEED.seconds_per_token(shared.runs[0].counts.training_flops, 1)
    # Of 60 thousand tokens the first 15 are trained once instead of twice; two trunk jobs start.
    saved = alone.job_seconds - both.job_seconds
    assert saved == pytest.approx(15_000 * rate - 2 * 2.0, abs=64 * rate)
    assert disk_bytes(shared) > both.disk_bytes - 1


def test_the_smallest_and_the_largest_are_measured() -> None:
    keys = {"ladder.widths": list(range(8, 80, 8)), "compute.large_from": 20_000}
    found = plan(keys)
    chosen = samples(found.runs)
    assert {run.spec["threads"] for run in chosen} == {1, 2}
    sizes = sorted(run.counts.n for run in found.runs)
    assert {sizes[0], sizes[-1]} <= {run.counts.n for run in chosen}
    measured = {"start_seconds": 1.5, "step_seconds": [0.1, None, 0.2, 0.4]}
    speed = speed_of(measured, chosen)
    assert len(speed.points) == 3, "one had no memory"
    assert speed.start_seconds == 1.5


def test_weak_plans_are_told_and_sound_ones_are_not() -> None:
    weak = warnings(plan({"training.tokens": "5k"}))
    assert any("fewer than 150 steps" in line for line in weak)
    assert any("2 sizes" in line for line in weak)
    assert any("two seeds" in line for line in weak)
    ladder = {"widths": [8, 16, 24, 32, 40], "smallest": 1}
    assert warnings(plan({"ladder": ladder, "training.tokens": "1M"})) == []
    assert any("max_bytes" in line for line in warnings(plan({"corpus.max_bytes": 5000})))
