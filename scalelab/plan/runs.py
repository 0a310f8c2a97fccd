"""The runs of a study: every setting resolved to a number, one content-addressed id each."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, is_dataclass, replace
from typing import Any

from scalelab.config import PowerRule, Study, check, with_values
from scalelab.errors import UserError
from scalelab.files import digest
from scalelab.plan import synthetic
from scalelab.plan.data import fingerprint
from scalelab.plan.families import Counts, Shape, count
from scalelab.plan.trunks import Trunk, saved_share, trunks

FORMAT = 1
"""Raised when the meaning of a run's specification changes, so that old results are not taken."""


@dataclass(frozen=True)
class Run:
    """One training run."""

    id: str
    """12 hexadecimal characters: a hash of the specification."""
    label: str
    """Short name for people, unique within the study."""
    spec: dict[str, Any]
    """Everything that changes the result, and nothing else."""
    counts: Counts
    """Parameters and FLOPs."""

    @property
    def tokens(self) -> int:
        """D: tokens that the run predicts, a whole number of steps."""
        return int(self.spec["training"]["steps"] * self.spec["training"]["batch_tokens"])

    @property
    def flops(self) -> int:
        """C: training FLOPs."""
        return self.tokens * self.counts.training_flops


@dataclass(frozen=True)
class Plan:
    """A study as a table of runs."""

    study: Study
    corpus_id: str
    """Hash of the corpus specification."""
    corpus: dict[str, Any]
    """Specification of the corpus (see `scalelab.corpus.prepare`)."""
    evaluation_id: str
    """Hash of how runs are evaluated."""
    evaluation: dict[str, Any]
    """How runs are evaluated."""
    runs: tuple[Run, ...]
    """The runs, the costliest first."""
    trunks: tuple[Trunk, ...]
    """Steps that runs share."""
    notes: tuple[str, ...]
    """What a person should know: duplicates removed, budgets rounded, FLOPs saved."""


def build(study: Study) -> Plan:
    """Resolve a study into its runs. Raises `UserError` for a design that cannot be run."""
    corpus = {
        "format": FORMAT,
        "config": synthetic.settings(study.corpus),
        "seed": study.seed,
        "fingerprint": fingerprint(study.corpus),
    }
    corpus_id = digest(corpus)
    evaluation = {"format": FORMAT, **asdict(study.evaluation)}
    evaluation["context"] = study.evaluation.context or study.model.context
    evaluation["stride"] = study.evaluation.stride or evaluation["context"]
    if evaluation["stride"] > evaluation["context"]:
        raise UserError(
            f"evaluation.stride: found {evaluation['stride']}, expected at most the context "
            f"of {evaluation['context']} tokens"
        )
    unique: dict[str, Run] = {}
    repeated = 0
    for run in _expand(study, corpus_id):
        repeated += run.id in unique
        unique.setdefault(run.id, run)
    if not unique:
        raise UserError("the study has no runs: give ladder.widths, ladder.sizes or model.width")
    notes = [f"{repeated} repeated runs removed (equal settings)"] if repeated else []
    runs = sorted(_unique_labels(unique.values()), key=lambda run: (-run.flops, run.label))
    shortest = min(run.spec["model"]["context"] for run in runs)
    if evaluation["context"] > shortest:
        raise UserError(
            f"evaluation.context: found {evaluation['context']} tokens, expected at most the "
            f"{shortest} of the shortest model context"
        )
    shared = trunks({run.id: run.spec for run in runs})
    if shared:
        step = {run.id: run.spec["training"]["batch_tokens"] for run in runs}
        flops = {run.id: (run.flops, step[run.id] * run.counts.training_flops) for run in runs}
        notes.append(
            f"{sum(len(one.branches) for one in shared)} runs branch from {len(shared)} trunks: "
            f"{saved_share(shared, flops):.0%} of the training FLOPs saved"
        )
    return Plan(
        study=study,
        corpus_id=corpus_id,
        corpus=corpus,
        evaluation_id=digest(evaluation),
        evaluation=evaluation,
        runs=tuple(runs),
        trunks=shared,
        notes=tuple(notes),
    )


def vocabulary(study: Study) -> int:
    """Size of the vocabulary that the models see."""
    return 257 if study.corpus.tokenizer == "bytes" else study.corpus.vocab_size


def _expand(study: Study, corpus_id: str) -> Iterator[Run]:
    points = [dict(zip(study.axes, values, strict=True)) for values in _cross(study)]
    for point in points:
        model, training = _at(study, point)
        widths = _widths(study, model)
        for rank, width in enumerate(sorted(set(widths))):
            seeds = (
                study.ladder.smallest_seeds if rank < study.ladder.smallest else study.ladder.seeds
            )
            for repeat in range(seeds):
                yield _run(study, model, training, width, study.seed + repeat, corpus_id, point)


def _cross(study: Study) -> Iterator[tuple[Any, ...]]:
    for key, values in study.axes.items():
        if not values:
            raise UserError(f"axes.{key}: found an empty list, expected at least one value")
    return itertools.product(*study.axes.values())


def _at(study: Study, point: dict[str, Any]) -> tuple[Any, Any]:
    """The model and training sections at one point of the axes."""
    changed: dict[str, dict[str, Any]] = {"model": {}, "training": {}}
    for key, value in point.items():
        section, _, name = key.partition(".")
        if section not in changed or not name:
            raise UserError(
                f"axes: found {key!r}, expected keys such as training.lr or model.depth"
            )
        inner = changed[section]
        *path, last = name.split(".")
        for part in path:
            here = getattr(getattr(study, section), part, None)
            if not is_dataclass(here) or isinstance(here, type):
                raise UserError(
                    f"axes: found {key!r}, but {section}.{part} of the study has no keys of its own"
                )
            inner = inner.setdefault(part, asdict(here))
        inner[last] = value
    model = with_values(study.model, changed["model"], "axes: model")
    training = with_values(study.training, changed["training"], "axes: training")
    if point:
        check(replace(study, model=model, training=training, axes={}), "axes")
    return model, training


def _widths(study: Study, model: Any) -> list[int]:
    ladder = study.ladder
    if bool(ladder.widths) + bool(ladder.sizes) + (model.width is not None) > 1:
        raise UserError("ladder: expected one of ladder.widths, ladder.sizes and model.width")
    if model.width is not None:
        return [model.width]
    if ladder.widths:
        return list(ladder.widths)
    step = math.lcm(ladder.width_multiple, model.heads)
    chosen = [_nearest_width(study, model, target, step) for target in ladder.sizes]
    if len(set(chosen)) < len(chosen):
        raise UserError(
            f"ladder.sizes: some sizes lie too close to be told apart in widths of {step}: "
            f"found widths {chosen}"
        )
    return chosen


def _nearest_width(study: Study, model: Any, target: int, step: int) -> int:
    def size(width: int) -> int:
        return count(_shape(study, model, width)).n

    high = step
    while size(high) < target:
        high += step
    low = max(high - step, step)
    return min((low, high), key=lambda width: abs(math.log(size(width) / target)))


def _shape(study: Study, model: Any, width: int) -> Shape:
    return Shape(
        family=model.family,
        depth=model.depth,
        width=width,
        heads=model.heads,
        context=model.context,
        vocab=vocabulary(study),
        mup_base=model.mup_base_width or 0,
    )


def _run(
    study: Study,
    model: Any,
    training: Any,
    width: int,
    seed: int,
    corpus_id: str,
    point: dict[str, Any],
) -> Run:
    shape = _shape(study, model, width)
    counts = count(shape)
    tokens = training.tokens or training.tokens_per_param * counts.n
    sequences = round(_value(training.batch_tokens, counts.n, tokens) / model.context)
    if sequences < 1:
        raise UserError(
            f"training.batch_tokens: less than one sequence of {model.context} tokens at width "
            f"{width}; raise it or lower model.context"
        )
    batch_tokens = sequences * model.context
    steps = round(tokens / batch_tokens)
    where = f"width {width} (N = {counts.n:,})"
    if steps < 10:
        raise UserError(
            f"training: {where} would have {steps} steps of {batch_tokens} tokens, "
            "expected at least 10; lower batch_tokens or raise the tokens"
        )
    warmup = _warmup(training.schedule, steps, batch_tokens, counts.n, tokens, where)
    large = study.compute.large_from is not None and counts.n >= study.compute.large_from
    processes = study.compute.large_processes if large else 1
    if sequences < processes or (study.compute.sharding and sequences % processes):
        raise UserError(
            f"compute.large_processes: {where} would share batches of {sequences} sequences among "
            f"{processes} processes, expected "
            f"{'a whole number' if study.compute.sharding else 'at least one'} for each"
        )
    spec = {
        "format": FORMAT,
        "corpus": corpus_id,
        "model": asdict(shape),
        "training": {
            "steps": steps,
            "batch_tokens": batch_tokens,
            "lr": float(f"{_value(training.lr, counts.n, tokens):.6g}"),
            "schedule": {
                "kind": training.schedule.kind,
                "warmup_steps": warmup,
                "cooldown_steps": (
                    round(training.schedule.cooldown * steps)
                    if training.schedule.kind == "wsd"
                    else 0
                ),
                "final": training.schedule.final,
                "share_trunk": training.schedule.share_trunk,
            },
            "weight_decay": training.weight_decay,
            "beta1": training.beta1,
            "beta2": _beta2(training.beta2, steps),
            "clip": training.clip,
            "precision": training.precision,
            "compile": training.compile,
        },
        "threads": study.compute.large_threads if large else 1,
        "processes": processes,
        "sharding": study.compute.sharding and processes > 1,
        "seed": seed,
    }
    axes = "".join(f"-{key.split('.')[-1]}{_short(value)}" for key, value in point.items())
    return Run(digest(spec), f"d{width}{axes}-s{seed - study.seed + 1}", spec, counts)


def _warmup(schedule: Any, steps: int, batch_tokens: int, n: int, tokens: float, where: str) -> int:
    """Steps of warm-up. Raises `UserError` where the peak rate would never be reached."""
    if schedule.warmup_tokens is None:
        return math.ceil(schedule.warmup * steps)
    warmup = math.ceil(_value(schedule.warmup_tokens, n, tokens) / batch_tokens)
    cooldown = round(schedule.cooldown * steps) if schedule.kind == "wsd" else 0
    if warmup + cooldown > steps:
        raise UserError(
            f"training.schedule.warmup_tokens: {where} would warm up for {warmup} of its {steps} "
            f"steps and cool down for {cooldown}, expected no more than the run has; lower "
            "warmup_tokens or raise the tokens"
        )
    return warmup


def _beta2(setting: float | str, steps: int) -> float:
    """A number, or for auto an average over 40% of the steps (docs/training.md has the sweep).

    At a fixed D a smaller batch has more steps and so a larger beta2, which it needs (Porian et al.
    2024); a short run is not left with an average that it never fills.
    """
    if not isinstance(setting, str):
        return setting
    return float(f"{min(max(1 - 2.5 / steps, 0.95), 0.999):.4g}")


def _value(setting: Any, n: int, tokens: float) -> float:
    """A number, or a power rule at this size."""
    if isinstance(setting, PowerRule):
        x = n if setting.of == "N" else tokens
        try:
            value = float(setting.value * (x / setting.at) ** setting.exponent)
        except OverflowError:
            value = math.inf
        if not 0 < value < math.inf:
            raise UserError(
                f"training: the power rule {setting.value:g} ({setting.of} / {setting.at:g})^"
                f"{setting.exponent:g} is too {'large' if value else 'small'} to compute at "
                f"{setting.of} = {x:,.0f}"
            )
        return value
    return float(setting)


def _short(value: Any) -> str:
    if isinstance(value, dict):  # a power rule is told apart by its value at the reference
        return _short(value["value"]) if "value" in value else "x"
    text = f"{value:g}" if isinstance(value, (int, float)) else str(value)
    return "".join(letter if letter.isalnum() or letter in ".+" else "_" for letter in text)


def _unique_labels(runs: Any) -> list[Run]:
    seen: dict[str, int] = {}
    out = []
    for run in runs:
        seen[run.label] = seen.get(run.label, 0) + 1
        again = seen[run.label]
        out.append(run if again == 1 else Run(run.id, f"{run.label}-{again}", run.spec, run.counts))
    return out
