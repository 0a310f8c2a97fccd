"""The runs of a study: every setting resolved to a number, one content-addressed id each."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, is_dataclass, replace
from typing import Any

from scalelab.config import Study, check, check_tokens, with_values
from scalelab.errors import UserError
from scalelab.files import digest
from scalelab.plan import designs
from scalelab.plan.asked import (
    DAMAGE,
    NONE,
    SPEED,
    TASKS,
    column,
    of_axes,
    of_each_text,
    of_measures,
    of_starts,
)
from scalelab.plan.data import fingerprint, settings
from scalelab.plan.designs import Point
from scalelab.plan.families import Counts, count, objective
from scalelab.plan.identity import run_id
from scalelab.plan.measures import measure_settings
from scalelab.plan.private import told
from scalelab.plan.recipe import FORMAT, specification
from scalelab.plan.sets import set_specifications
from scalelab.plan.sizes import shape_of
from scalelab.plan.starts import KEY as INIT
from scalelab.plan.starts import called, start_of, started
from scalelab.plan.symbols import of_several_kinds
from scalelab.plan.teachers import KEY, taught, teacher_id, teacher_of
from scalelab.plan.trunks import Trunk, saved_share, trunks

SECTIONS = ("model", "training", "corpus")
"""Sections of a study whose keys may differ between its runs."""

EVERY = ("cost", "loss_vs_flops", "loss_vs_tokens")
"""Figures that any study has."""


@dataclass(frozen=True)
class Run:
    """One training run."""

    id: str
    """12 hexadecimal characters: a hash of what the result depends on (`plan.identity`)."""
    label: str
    """Short name for people, unique within the study."""
    spec: dict[str, Any]
    """Everything that changes the result, and in how many processes it is trained."""
    counts: Counts
    """Parameters and FLOPs."""
    budget: float | None = None
    """Nominal training FLOPs of the IsoFLOP curve that it belongs to."""
    setting: dict[str, Any] | None = None
    """Values of the study's axes, by column."""
    init: str | None = None
    """Where the checkpoint is that it starts from: a folder, or a name on the hub."""

    @property
    def tokens(self) -> int:
        """D: tokens that the run predicts, a whole number of steps."""
        return int(self.spec["training"]["steps"] * self.spec["training"]["batch_tokens"])

    @property
    def unique_tokens(self) -> int:
        """U: distinct ones among them."""
        return min(self.tokens, self.spec["training"]["unique_tokens"] or self.tokens)

    @property
    def flops(self) -> int:
        """C: training FLOPs."""
        return self.tokens * self.counts.training_flops

    def values(self, columns: Sequence[str]) -> list[float]:
        """What a law's columns hold for this run."""
        known = {
            "N": self.counts.n,
            "N_active": self.counts.n_active,
            "N_total": self.counts.n_total,
            "D": self.tokens,
            "C": self.flops,
            "U": self.unique_tokens,
        }
        return [float(known[column]) for column in columns]


@dataclass(frozen=True)
class Plan:
    """A study as a table of runs."""

    study: Study
    corpora: dict[str, dict[str, Any]]
    """Specifications of the corpora by id (see `scalelab.corpus.prepare`)."""
    evaluation_id: str
    """Hash of how runs are evaluated."""
    evaluation: dict[str, Any]
    """How runs are evaluated."""
    sets: dict[str, dict[str, Any]]
    """Specifications of the evaluation sets by id (see `scalelab.corpus.sets`)."""
    measures: dict[str, dict[str, Any]]
    """Settings of the measures by id (see `scalelab.evaluation.measure`)."""
    runs: tuple[Run, ...]
    """The runs, the costliest first."""
    trunks: tuple[Trunk, ...]
    """Steps that runs share."""
    fits: tuple[dict[str, Any], ...]
    """Laws to fit, as `scalelab fit --fits` takes them."""
    answers: tuple[dict[str, Any], ...]
    """What else is read off the runs, as `scalelab fit --answers` takes it."""
    figures: tuple[str, ...]
    """Kinds of figures that show it."""
    notes: tuple[str, ...]
    """What a person should know: duplicates removed, budgets rounded, FLOPs saved."""

    @property
    def corpus_id(self) -> str:
        """Id of the corpus of the study, or of the first one where an axis varies it."""
        return next(iter(self.corpora))


def build(study: Study) -> Plan:
    """Resolve a study into its runs. Raises `UserError` for a design that cannot be run."""
    design, options = designs.chosen(study)
    corpora: dict[str, dict[str, Any]] = {}
    unique: dict[str, Run] = {}
    repeated = 0
    for run in _expand(study, design, options, corpora):
        repeated += run.id in unique
        unique.setdefault(run.id, run)
    if not unique:
        raise UserError("the study has no runs: its design leaves all of them out")
    for run in [*unique.values()]:
        teacher = teacher_id(run.spec)
        if teacher is not None and teacher not in unique:
            raise UserError(
                f"{KEY}: {run.label} has a teacher that the study does not train; give "
                f"axes.{KEY} and the value 0 among its values"
            )
    _of_one_quantity(unique.values())
    notes = [f"{repeated} repeated runs removed (equal settings)"] if repeated else []
    runs = sorted(_unique_labels(unique.values()), key=lambda run: (-run.flops, run.label))
    sets = set_specifications(study)
    evaluation = _evaluation(study, {run.spec["model"]["context"] for run in runs}, sets)
    shared = trunks({run.id: run.spec for run in runs})
    if shared:
        step = {run.id: run.spec["training"]["batch_tokens"] for run in runs}
        flops = {run.id: (run.flops, step[run.id] * run.counts.training_flops) for run in runs}
        notes.append(
            f"{sum(len(one.branches) for one in shared)} runs branch from {len(shared)} trunks: "
            f"{saved_share(shared, flops):.0%} of the training FLOPs saved"
        )
    notes += told(run.spec for run in runs)
    fits = design.fits if study.fits is None else tuple(map(_fit, study.fits))
    measures = measure_settings(study)
    answers = [*design.answers(options)]
    of_design = {one.get("axis", "") for one in answers}
    sizes = [(run.setting or {}, run.counts.n_active) for run in runs]
    answers += [one for one in of_axes(study, design, sizes) if one["axis"] not in of_design]
    answers = of_each_text(study, answers, [setting for setting, _ in sizes])
    answers += of_starts(study, {run.tokens for run in runs})
    kinds = {one["answer"] for one in answers}
    return Plan(
        study=study,
        corpora=corpora,
        evaluation_id=digest(evaluation),
        evaluation=evaluation,
        sets=sets,
        measures=measures,
        runs=tuple(runs),
        trunks=shared,
        fits=tuple(fits),
        answers=(*answers, *of_measures(study)),
        figures=_figures(
            study,
            design,
            heldout=bool(fits),
            optimum="optimum" in kinds,
            by_axis="by_axis" in kinds,
            modalities="modalities" in kinds,
            axis=bool(set(study.axes) - {"model.family"}),  # families have no sizes in common
            evaluation_sets=bool(sets),
            measures=bool(measures),
            compression=bool(DAMAGE & {*study.evaluation.measures}),
            speed=SPEED in study.evaluation.measures,
            tasks=TASKS in study.evaluation.measures,
            transfer="transfer" in kinds,
        ),
        notes=tuple(notes),
    )


def _of_one_quantity(runs: Iterable[Run]) -> None:
    """Refuse a study whose runs have losses that are different quantities."""
    families = {run.spec["model"]["family"]: run for run in runs}
    aims = {objective(name).title: name for name in families}
    if len(aims) > 1:
        told = " and ".join(f"{name} (a {title})" for title, name in aims.items())
        raise UserError(
            f"model.family: found {told} in one study; these losses are different quantities, with "
            "no axis and no law in common: give each a study of its own"
        )


def corpus_of(study: Study) -> dict[str, Any]:
    """Specification of the study's corpus."""
    return {
        "format": FORMAT,
        "config": settings(study.corpus),
        "seed": study.seed,
        "fingerprint": fingerprint(study.corpus),
    }


def _fit(fit: Any) -> dict[str, Any]:
    """A fit as plain data; without `set` where it is of the split, as it was before there were."""
    plain = asdict(fit)
    return plain if plain["set"] is not None else {k: v for k, v in plain.items() if k != "set"}


def _evaluation(
    study: Study, contexts: set[int], sets: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """How runs are evaluated; context and stride are None where each run has its own.

    Sets are named by their ids; without any, the key is left out, so that evaluations from before
    there were sets keep their ids. Measures are taken apart from it.

    Raises:
        UserError: a window that is longer than a model's context, or shorter than the stride.
    """
    context, stride = study.evaluation.context, study.evaluation.stride
    if context is None and len(contexts) == 1:
        context = min(contexts)
    if context is not None and context > min(contexts):
        raise UserError(
            f"evaluation.context: found {context} tokens, expected at most the "
            f"{min(contexts)} of the shortest model context"
        )
    window = context or min(contexts)
    if stride is not None and stride > window:
        raise UserError(
            f"evaluation.stride: found {stride}, expected at most the context of {window} tokens"
        )
    found = {
        "format": FORMAT,
        **asdict(study.evaluation),
        "context": context,
        "stride": stride or context,
        "sets": {spec["name"]: identity for identity, spec in sets.items()},
    }
    left_out = {"measures", "tasks", "tasks_folder", *(() if sets else ("sets",))}
    return {key: value for key, value in found.items() if key not in left_out}


def _figures(study: Study, design: designs.Design, **asked: bool) -> tuple[str, ...]:
    """Kinds of figures: those of every study, of its design, and those that are asked for."""
    if of_several_kinds(study):  # which have no axis of losses in common
        return ("cost", "modalities") if asked["modalities"] else ("cost",)
    laws = asked["heldout"]  # without a law there is none to hold out, nor to draw
    of_design = [kind for kind in design.figures if laws or not kind.startswith("scaling_law")]
    return tuple(sorted({*EVERY, *of_design, *(kind for kind, wanted in asked.items() if wanted)}))


def _expand(
    study: Study, design: designs.Design, options: Any, corpora: dict[str, dict[str, Any]]
) -> Iterator[Run]:
    known: dict[Any, str] = {}
    for values in _cross(study):
        setting = dict(zip(study.axes, values, strict=True))
        for point in design.points(_at(study, setting, "axes"), options):
            at = _at(study, {**setting, **point.values}, f"design {design.name}")
            check_tokens(at, "study")
            if at.corpus not in known:  # reading versions and files takes a while
                spec = corpus_of(at)
                known[at.corpus] = digest(spec)
                corpora.setdefault(known[at.corpus], spec)
            for repeat in range(point.seeds):
                yield _run(at, study.seed + repeat, known[at.corpus], repeat, setting, point)


def _cross(study: Study) -> Iterator[tuple[Any, ...]]:
    for key, values in study.axes.items():
        if not values:
            raise UserError(f"axes.{key}: found an empty list, expected at least one value")
    return itertools.product(*study.axes.values())


def _at(study: Study, values: dict[str, Any], where: str) -> Study:
    """The study with some keys of its sections replaced."""
    changed: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        if section not in SECTIONS or not name:
            raise UserError(
                f"axes: found {key!r}, expected keys such as training.lr, model.depth or "
                "corpus.vocab_size"
            )
        inner = changed.setdefault(section, {})
        *path, last = name.split(".")
        for part in path:
            here = getattr(getattr(study, section), part, None)
            if not is_dataclass(here) or isinstance(here, type):
                raise UserError(
                    f"axes: found {key!r}, but {section}.{part} of the study has no keys of its own"
                )
            inner = inner.setdefault(part, asdict(here))
        inner[last] = value
    sections = {
        name: with_values(getattr(study, name), keys, f"{where}: {name}")
        for name, keys in changed.items()
    }
    at = replace(study, **sections)
    if values:
        check(at, where)
    return at


def _run(
    at: Study, seed: int, corpus_id: str, repeat: int, setting: dict[str, Any], point: Point
) -> Run:
    shape = shape_of(at)
    counts = count(shape)
    spec = specification(at, shape, counts, seed, corpus_id)
    teacher = teacher_of(at, seed, corpus_id)
    if teacher is not None:
        spec = taught(at, spec, teacher)
    start = start_of(at, shape, counts, repeat + 1)
    if start is not None:
        spec = started(spec, start)
    if setting.get(INIT) is not None:  # a path is no name for a run
        setting = {**setting, INIT: called(setting[INIT], at.axes[INIT])}
    told = {**setting, **point.values}
    told.pop("model.width", None)
    words = "".join(f"-{key.split('.')[-1]}{_short(value)}" for key, value in told.items())
    return Run(
        run_id(spec),
        f"d{shape.width}{words}-s{repeat + 1}",
        spec,
        counts,
        point.budget,
        {column(key): _plain(value) for key, value in setting.items()},
        None if start is None else start.place,
    )


def _plain(value: Any) -> Any:
    """What a cell of a table can hold."""
    if value is None:
        return NONE
    if isinstance(value, (int, float, str)):
        return value
    return _blend(value) or _short(value)


def _blend(value: Any) -> str:
    """A mixture by its parts and their weights (`english 3 + cpp 1`); empty for anything else."""
    parts = [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []
    if not parts or not all({"name", "weight"} <= part.keys() for part in parts):
        return ""
    names = [str(part["name"]) for part in parts]
    if len({part["weight"] for part in parts}) == 1:  # equal shares
        return " + ".join(names)
    return " + ".join(f"{name} {part['weight']}" for name, part in zip(names, parts, strict=True))


def _short(value: Any) -> str:
    if isinstance(value, dict):  # a power rule is told apart by its value at the reference
        return _short(value["value"]) if "value" in value else "x"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        big = [(unit, size) for unit, size in (("M", 1e6), ("k", 1e3)) if abs(value) >= size]
        text = f"{value / big[0][1]:.4g}{big[0][0]}" if big else f"{value:g}"
    else:
        text = NONE if value is None else _blend(value).replace(" ", "") or str(value)
    return "".join(letter if letter.isalnum() or letter in ".+" else "_" for letter in text)


def _unique_labels(runs: Iterable[Run]) -> list[Run]:
    seen: dict[str, int] = {}
    out = []
    for run in runs:
        seen[run.label] = seen.get(run.label, 0) + 1
        again = seen[run.label]
        out.append(run if again == 1 else replace(run, label=f"{run.label}-{again}"))
    return out
