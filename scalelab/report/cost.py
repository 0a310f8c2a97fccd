"""What a study cost: totals, a row a size, and sentences on how each cost grows with N."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scalelab.figures import numbers
from scalelab.figures.cost import QUANTITIES, Quantity, counted_text, growth_text
from scalelab.figures.study import Run, Study
from scalelab.laws import spent
from scalelab.report import latex
from scalelab.report.summary import Size

COLUMNS = (
    *("N", "D", "threads", "precision", "runs", "failed", "seconds", "tokens_per_second", "C"),
    *("flops_per_second", "mfu", "peak_memory_bytes", "checkpoint_bytes"),
)
SECONDS_AN_HOUR = 3600


@dataclass(frozen=True)
class Totals:
    """Sums over the runs of a study, those that failed included: they were paid for too.

    Steps that runs share (a trunk) are counted once.
    """

    seconds: float
    core_hours: float | None
    """Sum of seconds x threads x processes / 3600; None where a run does not say its threads."""
    flops: float
    tokens: float
    failed_share: float
    """The part of the seconds that failed runs took."""
    shared: bool
    """Whether runs share steps, so that the sums are less than those of the rows."""


def totals(study: Study) -> Totals:
    """What all runs of a study took together."""
    own = own_shares(study.runs)
    known = all(run.number("threads") for run in study.runs if run.number("seconds"))
    cores = {
        run.id: (run.number("threads") or 0) * (run.number("processes") or 1) for run in study.runs
    }
    taken = {run.id: (run.number("seconds") or 0) * own[run.id] for run in study.runs}
    seconds = sum(taken.values())
    failed = sum(taken[run.id] for run in study.runs if not run.ok)
    core_seconds = sum(taken[name] * cores[name] for name in taken)
    return Totals(
        seconds=seconds,
        core_hours=core_seconds / SECONDS_AN_HOUR if known else None,
        flops=sum((run.number("C") or 0) * own[run.id] for run in study.runs),
        tokens=sum((run.number("D") or 0) * own[run.id] for run in study.runs),
        failed_share=failed / seconds if seconds else 0.0,
        shared=any(share < 1 for share in own.values()),
    )


def own_shares(runs: Sequence[Run]) -> dict[str, float]:
    """By id, the part of a run's steps that no other run of the table is charged with.

    Of the runs of a trunk, the one that takes most of its steps is charged with all of them.
    """
    shares = spent.own_shares([run.columns for run in runs])
    return {run.id: share for run, share in zip(runs, shares, strict=True)}


def statuses(study: Study) -> str:
    """How many runs ended in which way: `8 ok, 1 diverged`."""
    tally = Counter(run.status for run in study.runs)
    order = sorted(tally, key=lambda status: (status != "ok", status))
    return ", ".join(f"{tally[status]} {status}" for status in order)


def growth_sentences(study: Study) -> list[str]:
    """A sentence a cost: `Training time grows as N^0.83 (standard error 0.02) from ... to ...`."""
    known = [
        (item, study.growth[item.column]) for item in QUANTITIES if item.column in study.growth
    ]
    return [growth_sentence(quantity, item) for quantity, item in known]


def growth_sentence(quantity: Quantity, item: Mapping[str, Any]) -> str:
    """How one cost grows, over which sizes, at how many tokens and threads."""
    exponent, error = growth_text(item)
    words = quantity.words[:1].upper() + quantity.words[1:]
    first, last = (numbers.short(size) for size in item["N"])
    low, high = item["interval"]
    if low is not None and low <= 0 <= high:
        told = f"does not clearly change with N (exponent {exponent}, standard error {error})"
    else:
        verb = "grows" if item["exponent"] > 0 else "falls"
        told = f"{verb} as N^{exponent} (standard error {error})"
    return f"{words} {told} from N = {first} to {last}{_conditions(item)}."


def _conditions(item: Mapping[str, Any]) -> str:
    """With how many tokens and threads the sizes were trained."""
    text = ""
    if item["D"] and item["column"] in ("seconds", "C"):
        low, high = (numbers.short(tokens) for tokens in item["D"])
        text = f", each with {low} tokens" if low == high else f", with {low} to {high} tokens"
    threads, processes = (item["setting"].get(name) for name in ("threads", "processes"))
    if threads:
        several = f"{counted_text('processes', processes)} of " if (processes or 1) > 1 else ""
        text += f", on {several}{counted_text('threads', threads)}"
    return text


def cost_row(size: Size) -> tuple[Any, ...]:
    """A size's row of cost.csv, at full precision."""
    whole = (size.n, size.tokens, size.threads)
    counts = (None if value is None else int(value) for value in whole)
    return (
        *(*counts, size.precision, size.seeds, size.failed, size.seconds, size.tokens_per_second),
        *(None if size.flops is None else int(size.flops), size.flops_per_second, size.mfu),
        *(None if size.memory is None else int(size.memory), size.checkpoint),
    )


def cost_tex(head: str, rows: Sequence[Size]) -> str:
    """One line a size: means over its good runs, and the highest memory."""
    header = (
        *("$N$", "$D$", "Threads", "Runs", "Time (s)", "Tokens/s", "$C$ (FLOPs)"),
        *(r"MFU (\%)", "Peak memory (MB)", "Checkpoint (MB)"),
    )
    body = []
    for size in rows:
        failed = f" ({size.failed} failed)" if size.failed else ""
        body.append(
            [
                *(latex.power(size.n), latex.power(size.tokens), latex.math(size.threads, 0)),
                f"{size.seeds}{failed}",
                *(latex.math(size.seconds, 1), latex.math(size.tokens_per_second, 0)),
                latex.power(size.flops),
                latex.math(None if size.mfu is None else 100 * size.mfu, 1),
                latex.math(None if size.memory is None else size.memory / 1e6, 1),
                latex.math(None if size.checkpoint is None else size.checkpoint / 1e6, 2),
            ]
        )
    return latex.booktabs(head, "rrrlrrrrrr", header, body)


def cost_macros(study: Study) -> dict[str, str]:
    """Macros of the totals, and of each exponent with its standard error."""
    sums = totals(study)
    found = {"TotalFlops": latex.anywhere(latex.power(sums.flops))}
    if sums.seconds:
        found["TotalSeconds"] = f"{sums.seconds:.0f}"
    if sums.core_hours:
        found["CoreHours"] = numbers.significant(sums.core_hours, 3)
    for column, item in study.growth.items():
        name = "".join(part[:1].upper() + part[1:] for part in column.split("_"))
        exponent, error = growth_text(item)
        found[f"Growth{name}"] = latex.anywhere(exponent.replace("\N{MINUS SIGN}", "-"))
        found[f"Growth{name}Error"] = error
    return found
