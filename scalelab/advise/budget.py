"""A budget in FLOPs, hours or dollars, and what the study that it buys is expected to tell."""

import argparse
import math

from scalelab import config
from scalelab.advise.expected import expected
from scalelab.advise.propose import Proposal, propose
from scalelab.advise.study_file import study
from scalelab.advise.weaknesses import weaknesses
from scalelab.errors import UserError
from scalelab.plan.calibration import calibrate
from scalelab.plan.estimate import makespan, samples
from scalelab.plan.runs import build

BEYOND = 10
"""The extrapolation target: ten times the largest N."""
LEAST_FLOPS, MOST_FLOPS = 1e11, 1e26


def number(text: str, flag: str) -> float:
    """A positive number of the command line."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise UserError(f"{flag} {text}: expected a positive number")
    return value


def within(args: argparse.Namespace, cores: int) -> tuple[Proposal, str]:
    """The proposal and the words of its budget."""
    if args.flops is not None:
        return propose(args.design, number(args.flops, "--flops"), args.sizes), (
            f"--flops {args.flops}"
        )
    if args.hours is not None:
        hours, words = number(args.hours, "--hours"), f"--hours {args.hours}"
    else:
        if args.dollars_per_hour is None:
            raise UserError("--dollars needs --dollars-per-hour, what this machine costs")
        rate = number(args.dollars_per_hour, "--dollars-per-hour")
        hours = number(args.dollars, "--dollars") / rate
        words = f"--dollars {args.dollars} --dollars-per-hour {args.dollars_per_hour}"
    return _in_hours(args.design, hours, args.sizes, cores), words


def _in_hours(design: str, hours: float, sizes: int, cores: int) -> Proposal:
    """The largest study that ends in so many hours, by the speed measured at its own sizes."""
    flops = 5e10 * cores * hours * 3600  # a start, which the measured speed replaces
    low = propose(design, 1e30, sizes)
    for _ in range(3):
        low = _affordable(design, flops, sizes)
        taken = _seconds(low, cores)
        flops = low.flops * hours * 3600 / taken
    best = _affordable(design, flops, sizes)
    while _seconds(best, cores) > hours * 3600 * 1.05:
        flops *= 0.8
        best = _affordable(design, flops, sizes)
    return best


def _affordable(design: str, flops: float, sizes: int) -> Proposal:
    if not LEAST_FLOPS < flops < MOST_FLOPS:
        raise UserError(f"this budget is about {flops:.3g} FLOPs: no study of {sizes} sizes fits")
    return propose(design, flops, sizes)


def _seconds(proposal: Proposal, cores: int) -> float:
    content = study(proposal, "proposed")
    content["corpus"] = {**content["corpus"], "source": "docstrings", "paths": []}
    plan = build(config.parse(content))
    speed = calibrate(samples(plan.runs))
    jobs = [
        (
            run.tokens * speed.seconds_per_token(run.counts.training_flops, run.spec["threads"])
            + speed.start_seconds,
            run.spec["threads"],
        )
        for run in plan.runs
    ]
    return makespan(jobs, cores)


def tells(proposal: Proposal, noise: float) -> list[str]:
    """What the design is expected to tell of alpha and of a run beyond it, in sentences."""
    rows = [{"N": float(size.n), "D": float(tokens)} for size, tokens in proposal.runs]
    target = BEYOND * proposal.sizes[-1].n
    if proposal.design == "ladder":
        # D follows N: one power of N stands for both, with the sum of what they do.
        law, where = "power_offset", f"loss@N={target:.3g}"
    else:
        most = max(tokens for _, tokens in proposal.runs)
        law, where = "chinchilla", f"loss@N={target:.3g},D={BEYOND * most:.3g}"
    prior = _prior(law)
    found = expected(rows, prior, noise, ("alpha", where))
    lines = []
    for name, one in found.quantities.items():
        what = "alpha" if name == "alpha" else f"the loss of a run of {BEYOND} times the largest N"
        if not math.isfinite(one.half_width):
            lines.append(f"expected: {what} is not determined by this design")
        elif name == "alpha":
            lines.append(f"expected: alpha within +- {one.half_width:.2g}")
        else:
            lines.append(f"expected: {what} within +- {100 * one.half_width / one.value:.2g}%")
    lines.append(f"({found.describe()})")
    return [*lines, *(f"weak: {line}" for line in weaknesses(rows, prior, noise))]


def _prior(law: str) -> "str | dict[str, object]":
    """For a ladder at D = 20 N the law of Besiroglu et al. 2024 along that line."""
    if law == "chinchilla":
        return "besiroglu2024"
    return {"law": "power_offset", "params": {"E": 1.8172, "A": 600.0, "alpha": 0.3478}}
