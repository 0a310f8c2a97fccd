"""What a plan is expected to take: seconds of each run, hours of them all on some cores, disk."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scalelab.plan.runs import Plan, Run

EVALUATION_SHARE = 1 / 3
"""FLOPs of a forward pass over those of a step (the backward pass costs twice the forward)."""

WEIGHT_BYTES = 4
"""fp32 master weights; AdamW keeps two moments of the same size beside them in a state."""

RUN_BYTES = 60_000
"""Tokenizer, records and logs of a run."""

METRIC_BYTES = 160
"""A line of metrics.jsonl."""

LINES = 400
"""Lines that a long run writes there, about."""


@dataclass(frozen=True)
class Speed:
    """Measured speed of this machine. points: (FLOPs a token, threads, seconds a token)."""

    points: tuple[tuple[float, int, float], ...]
    start_seconds: float

    def seconds_per_token(self, flops: float, threads: int) -> float:
        """Interpolated in logs between measured sizes of as many threads; beyond them by FLOPs."""
        mine = sorted(point for point in self.points if point[1] == threads) or sorted(self.points)
        if flops <= mine[0][0]:
            return mine[0][2] * flops / mine[0][0] if flops < mine[0][0] / 4 else mine[0][2]
        for (x0, _, y0), (x1, _, y1) in itertools.pairwise(mine):
            if flops <= x1:
                share = math.log(flops / x0) / math.log(x1 / x0)
                return math.exp(math.log(y0) + share * math.log(y1 / y0))
        return mine[-1][2] * flops / mine[-1][0]


@dataclass(frozen=True)
class Estimate:
    """seconds: of each run's training, by id; job_seconds: of all jobs, start and scoring
    included; wall_seconds: on the cores, the costliest first; disk_bytes: what stays."""

    seconds: dict[str, float]
    job_seconds: float
    wall_seconds: float
    disk_bytes: int
    cores: int


def samples(runs: Sequence[Run], most: int = 4) -> list[Run]:
    """Runs to measure: of each number of threads the smallest and the largest, then between."""
    groups: dict[int, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.counts.training_flops):
        group = groups.setdefault(run.spec["threads"], [])
        if not group or group[-1].counts.training_flops != run.counts.training_flops:
            group.append(run)
    chosen: list[Run] = []
    for group in groups.values():
        share = max(2, most // len(groups))
        places = {round(i * (len(group) - 1) / (share - 1)) for i in range(share)}
        chosen += [group[place] for place in sorted(places)]
    return chosen


def estimate(plan: Plan, speed: Speed, cores: int) -> Estimate:
    """Seconds and bytes of a plan on a machine of that speed.

    Runs that share a trunk are charged for the steps of their own alone, and trunks for theirs.
    Jobs are placed as Snakemake places them: the costliest that fits on the free cores.
    """
    held_out = held_out_tokens(plan)
    seconds, jobs = {}, []
    branch_steps = {run: steps for trunk in plan.trunks for run, steps in trunk.branches.items()}
    for run in plan.runs:
        rate = speed.seconds_per_token(run.counts.training_flops, run.spec["threads"])
        own = run.tokens - branch_steps.get(run.id, 0) * run.spec["training"]["batch_tokens"]
        seconds[run.id] = own * rate
        alone = speed.seconds_per_token(run.counts.training_flops, 1)
        jobs.append((own * rate + speed.start_seconds, run.spec["threads"]))
        jobs.append((held_out * alone * EVALUATION_SHARE + speed.start_seconds, 1))
    by_id = {run.id: run for run in plan.runs}
    for trunk in plan.trunks:
        one = by_id[next(iter(trunk.branches))]
        rate = speed.seconds_per_token(one.counts.training_flops, one.spec["threads"])
        steps = max(trunk.branches.values())
        start = speed.start_seconds * len(trunk.ends)
        tokens = steps * one.spec["training"]["batch_tokens"]
        jobs.append((tokens * rate + start, one.spec["threads"]))
    return Estimate(
        seconds=seconds,
        job_seconds=sum(time for time, _ in jobs),
        wall_seconds=makespan(jobs, cores),
        disk_bytes=disk_bytes(plan),
        cores=cores,
    )


def makespan(jobs: Sequence[tuple[float, int]], cores: int) -> float:
    """Seconds until the last of the jobs (seconds, threads) ends, the longest first."""
    waiting = sorted(jobs, reverse=True)
    running: list[tuple[float, int]] = []
    now, free = 0.0, cores
    while waiting or running:
        fits = next((job for job in waiting if min(job[1], cores) <= free), None)
        if fits is not None:
            waiting.remove(fits)
            free -= min(fits[1], cores)
            running.append((now + fits[0], min(fits[1], cores)))
        else:
            running.sort()
            now, threads = running.pop(0)
            free += threads
    return now


def disk_bytes(plan: Plan) -> int:
    """Checkpoints, records and trunk states that stay on the disk; corpora are not counted."""
    total = sum(
        WEIGHT_BYTES * run.counts.n_total
        + RUN_BYTES
        + METRIC_BYTES * min(run.spec["training"]["steps"], LINES)
        for run in plan.runs
    )
    by_id = {run.id: run for run in plan.runs}
    for trunk in plan.trunks:
        one = by_id[next(iter(trunk.branches))]
        total += len(trunk.ends) * 3 * WEIGHT_BYTES * one.counts.n_total
    return total


def speed_of(measured: Mapping[str, Any], chosen: Sequence[Run]) -> Speed:
    """The speed from what `scalelab calibrate` printed for those runs."""
    points = [
        (float(run.counts.training_flops), int(run.spec["threads"]), step / batch)
        for run, step in zip(chosen, measured["step_seconds"], strict=True)
        if step is not None
        for batch in [run.spec["training"]["batch_tokens"]]
    ]
    return Speed(tuple(points), float(measured["start_seconds"]))


def held_out_tokens(plan: Plan) -> int:
    """Tokens of the split that each run is scored on."""
    corpus = plan.study.corpus
    return corpus.test_tokens if plan.evaluation["split"] == "test" else corpus.tuning_tokens
