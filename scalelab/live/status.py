"""A study as it stands, in words and as JSON."""

import os
import time
from typing import Any

from scalelab.live.left import flops_left, flops_share, seconds_left
from scalelab.live.study import ORDER, Job, Study
from scalelab.training.progress import clock

Row = dict[str, Any]
TROUBLE = ("stopped", "failed", "diverged", "oom")
POINTS, CURVES = 160, 200
"""Points of a curve that are handed on, and jobs that have one, at most."""


def cores_of(study: Study) -> int:
    """Cores of the workflow; those of this machine where none has started here."""
    return int(study.live.get("cores") or os.cpu_count() or 1)


def as_json(study: Study, curves: bool = True) -> Row:
    """All that is known, for programs and for the page. Times are seconds, losses nats a token."""
    return {
        "study": study.name,
        "folder": str(study.folder),
        "workflow": study.workflow,
        "host": study.live.get("host"),
        "started": study.live.get("started"),
        "now": time.time(),
        "cores": cores_of(study),
        "text_prepared": study.text,
        "rounds": study.rounds,
        "results": study.results,
        "counts": {name: study.count(name) for name in ORDER if study.count(name)},
        "runs": len(study.runs),
        "done": sum(job.ended for job in study.runs),
        "evaluated": sum(job.evaluated for job in study.runs),
        "flops_left": flops_left(study),
        "flops_share": flops_share(study),
        "seconds_left": seconds_left(study, cores_of(study)),
        "headline": headline(study),
        "notes": notes(study),
        "jobs": [_job(job, curves and i < CURVES) for i, job in enumerate(sorted_jobs(study))],
    }


def sorted_jobs(study: Study) -> list[Job]:
    """The running ones first, then those that need a look, the done and the waiting ones."""
    return sorted(study.jobs, key=lambda job: ORDER.index(job.status))


def _job(job: Job, curves: bool) -> Row:
    row = {
        "kind": job.kind,
        "id": job.plan["id"],
        "label": job.plan["label"],
        "N": job.plan.get("N"),
        "D": job.plan.get("D"),
        "status": job.status,
        "reason": job.reason,
        "step": job.step,
        "steps": job.plan["steps"],
        "share": job.share,
        "loss_nats": job.loss_nats,
        "heldout_loss_nats": job.heldout_loss_nats,
        "tokens_per_second": job.tokens_per_second,
        "seconds_left": job.seconds_left,
    }
    if curves:
        every = -(-len(job.curve) // POINTS) or 1
        # Counted from the end, so that the newest point is always there.
        row["curve"] = list(job.curve[::-1][::every][::-1])
    return row


def headline(study: Study) -> str:
    """`study x: 12 of 20 runs done, 2 running, 6 waiting (61% of the training FLOPs)`."""
    done = sum(job.ended for job in study.runs)
    parts = [f"{done} of {len(study.runs)} runs done"]
    for name in ("running", "stopped", "failed", "waiting"):
        if study.count(name):
            parts.append(f"{study.count(name)} {name}")
    return (
        f"study {study.name}: {', '.join(parts)} ({flops_share(study):.0%} of the training FLOPs)"
    )


def notes(study: Study) -> list[str]:
    """Sentences under the headline: the workflow, the text, time left, what comes next."""
    told = []
    began = float(study.live.get("started") or time.time())
    if study.workflow == "at work":
        told.append(f"at work for {clock(time.time() - began)} on {_cores(cores_of(study))}")
    elif study.workflow == "elsewhere":
        told.append(f"started on {study.live['host']} {clock(time.time() - began)} ago")
    if study.rounds is not None:
        told.append(
            f"adaptive: {study.rounds} rounds decided, so runs may be added"
            if study.rounds
            else "adaptive: no round is decided yet"
        )
    if not study.text:
        told.append("the text is not prepared yet")
    left = [job for job in study.jobs if not job.ended]
    if not left and study.runs:
        told.append(_finished(study))
        return told
    seconds = seconds_left(study, cores_of(study))
    if seconds is None:
        told.append("time left: not known yet, no step of this study has been timed")
    elif left:
        told.append(
            f"about {clock(seconds)} of training left on {_cores(cores_of(study))}, if the rest "
            "goes as fast as the runs so far"
        )
    if study.workflow != "at work" and not study.count("running") and left:
        told.append("nothing is at work here: the same snakemake command goes on where it stopped")
    return told


def _finished(study: Study) -> str:
    evaluated = sum(job.evaluated for job in study.runs)
    if evaluated < len(study.runs):
        return f"all runs are trained, {evaluated} are evaluated"
    return f"all runs are trained and evaluated; see {study.folder / (study.results or '')}"


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"


def as_text(study: Study) -> str:
    """The headline, the notes, a line a running job, a line for each that did not end well."""
    lines = [headline(study), *notes(study)]
    jobs = sorted_jobs(study)
    running = [job for job in jobs if job.status == "running"]
    if running:
        lines += ["", *_table([_running(job) for job in running])]
    trouble: dict[str, list[str]] = {}
    for job in jobs:
        if job.status in TROUBLE:
            trouble.setdefault(_trouble(job), []).append(_name(job))
    if trouble:  # what many have in common is told once
        lines += ["", *(f"{', '.join(names)}: {said}" for said, names in trouble.items())]
    return "\n".join(lines)


def _name(job: Job) -> str:
    label = str(job.plan["label"])
    return f"{label} (to step {job.plan['steps']:,})" if job.kind == "trunk" else label


def _running(job: Job) -> list[str]:
    size = f"N={job.plan['N']:,}" if job.kind == "run" else ""
    cells = [_name(job), size, f"step {job.step:,}/{job.plan['steps']:,} ({job.share:.0%})"]
    if job.tokens_per_second is None or job.loss_nats is None or job.seconds_left is None:
        return [*cells, "just started", "", ""]
    return [
        *cells,
        f"loss {job.loss_nats:.3f} nats",
        f"{job.tokens_per_second:,.0f} tokens/s",
        f"{clock(job.seconds_left)} left",
    ]


def _trouble(job: Job) -> str:
    if job.status in ("diverged", "oom"):
        return f"{job.status}, {job.reason}"
    where = f" at step {job.step:,} of {job.plan['steps']:,}" if job.step else ""
    reason = f" ({job.reason})" if job.reason else ""
    return f"{job.status}{where}{reason}"


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(r, widths, strict=True)).rstrip() for r in rows
    ]
