"""The split and the evaluation sets side by side: losses at both ends, and the law of each."""

from dataclasses import dataclass

from scalelab.evaluation.columns import of_set
from scalelab.figures import numbers
from scalelab.figures.evaluation_sets import sets_of
from scalelab.figures.study import Study
from scalelab.report import summary


@dataclass(frozen=True)
class Text:
    """A row: means over the seeds of the smallest and of the largest size, and the first law of N.

    law: each constant with its interval, empty where no law was fitted to this text.
    """

    name: str
    smallest: float | None
    largest: float | None
    bits_per_byte: float | None
    law: tuple[str, ...]


def texts(study: Study) -> list[Text]:
    """A row for the split and one for each evaluation set; none without sets."""
    good = [run for run in study.runs if run.ok]
    names = sets_of(good)
    if not names:
        return []
    sizes = sorted({run.size for run in good})
    ends = [[run for run in good if run.size == size] for size in (sizes[0], sizes[-1])]
    split = next((run.columns.get("eval_split") for run in good), None) or "test"
    rows = []
    for name in (None, *names):
        loss, bits = ("loss_nats", "bits_per_byte")
        if name is not None:
            loss, bits = of_set(name, loss), of_set(name, bits)
        fits = (fit for fit in study.one_dimensional if fit.get("y", "loss_nats") in (loss, bits))
        fit = next(fits, None)
        constants = (fit or {}).get("params", {})
        law = [
            f"{key} = {numbers.with_interval(float(value), *numbers.bounds(fit or {}, key))}"
            for key, value in constants.items()
        ]
        low, high = (summary.mean(runs, loss) for runs in ends)
        rows.append(Text(name or split, low, high, summary.mean(ends[1], bits), tuple(law)))
    return rows
