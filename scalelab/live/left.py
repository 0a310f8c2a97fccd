"""How long a study will still train, by the speed of its runs so far."""

import statistics
from collections import defaultdict

from scalelab.live.study import Job, Study
from scalelab.plan.estimate import Speed, makespan


def tokens_left(job: Job) -> float:
    """Tokens that the job has still to train."""
    if job.ended:
        return 0.0
    to_end = (job.plan["steps"] - job.step) * job.plan["batch_tokens"]
    return float(min(to_end, job.plan["own_tokens"]))


def flops_left(study: Study) -> float:
    """Training FLOPs of what is left."""
    return sum(tokens_left(job) * job.plan["flops_per_token"] for job in study.jobs)


def flops_share(study: Study) -> float:
    """Share of the training FLOPs that are done; 1 for a study without jobs."""
    total = sum(job.plan["own_tokens"] * job.plan["flops_per_token"] for job in study.jobs)
    return 1 - flops_left(study) / total if total else 1.0


def seconds_left(study: Study, cores: int) -> float | None:
    """Seconds until the last run is trained, if the rest goes as the runs so far; None: unknown.

    Seconds a token are interpolated in FLOPs a token between the sizes that were timed, since small
    models use a machine less well. Scoring, the fit and the start of each job are not in it.
    """
    timed: dict[tuple[float, int], list[float]] = defaultdict(list)
    for job in study.jobs:
        if job.tokens_per_second:
            key = (float(job.plan["flops_per_token"]), int(job.plan["threads"]))
            timed[key].append(1 / job.tokens_per_second)
    left = [job for job in study.jobs if not job.ended]
    if not left:
        return 0.0
    if not timed:
        return None
    speed = Speed(tuple((*key, statistics.median(v)) for key, v in sorted(timed.items())), 0.0)
    jobs = []
    for job in left:
        threads = int(job.plan["threads"])
        expected = job.seconds_left
        if expected is None:
            rate = speed.seconds_per_token(float(job.plan["flops_per_token"]), threads)
            expected = tokens_left(job) * rate
        jobs.append((expected, threads))
    return makespan(jobs, max(1, cores))
