"""What lies in a results folder: its runs, the plans that use them, trunk states and corpora."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalelab.errors import UserError
from scalelab.evaluation.collect import row
from scalelab.files import read_json
from scalelab.plan.families import Shape, count
from scalelab.plan.labels import label_of

IDENTITY = re.compile(r"[0-9a-f]{12}")
NO_SCORE = dict.fromkeys(("loss_nats", "loss_nats_se", "perplexity", "bits_per_byte"))
NO_SETTINGS = dict.fromkeys(("split", "context", "stride"))
NOT_MEASURED = (
    *("train_loss_nats", "tokens_per_second", "seconds", "peak_memory_bytes", "checkpoint_bytes"),
    *("threads", "precision", "device", "status", "reason"),
)
"""What a run.json tells only once a run has ended."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Study:
    """One plan.json. runs: {run id: label}; specs: {run id: specification}."""

    name: str
    folder: Path
    evaluation: str
    corpus: str
    runs: dict[str, str]
    specs: dict[str, Row]
    trunk_states: frozenset[tuple[str, int]]


@dataclass(frozen=True)
class Record:
    """One run's folder.

    run: what its run.json holds, None for a run that has not ended. scores: {evaluation id:
    result}. labels: {study: label} of the plans that use it.
    """

    id: str
    folder: Path
    run: Row | None
    spec: Row
    status: str
    reason: str | None
    scores: dict[str, Row]
    labels: dict[str, str]

    @property
    def steps(self) -> int:
        """Steps of a finished run, or of the newest resume state."""
        if self.run:
            return int(self.run["steps"])
        states = [path.stem for path in self.folder.glob("state/*.state")]
        return max((int(name) for name in states if name.isdigit()), default=0)


@dataclass(frozen=True)
class Store:
    """A results folder as it was read."""

    root: Path
    studies: tuple[Study, ...]
    records: tuple[Record, ...]

    def study(self, name: str) -> Study:
        """The study of that name; `UserError` names those there are."""
        for one in self.studies:
            if one.name == name:
                return one
        names = ", ".join(one.name for one in self.studies) or "none"
        raise UserError(f"study {name!r} has no plan.json in {self.root} (there: {names})")


def read(root: Path) -> Store:
    """Read a results folder. Raises `UserError` where it is none or a plan is damaged."""
    if not root.is_dir():
        raise UserError(f"{root}: no such folder of results")
    studies = tuple(_studies(root))
    folders = [path for path in sorted((root / "runs").glob("*")) if _is_run(path)]
    return Store(root, studies, tuple(_record(path, studies) for path in folders))


def _is_run(path: Path) -> bool:
    return path.is_dir() and IDENTITY.fullmatch(path.name) is not None


def _studies(root: Path) -> Iterator[Study]:
    for path in sorted(root.glob("*/plan.json")):
        plan = read_json(path)
        try:
            yield Study(
                plan["study"],
                path.parent,
                plan["evaluation_id"],
                plan["corpus_id"],
                {item["id"]: item["label"] for item in plan["runs"]},
                {item["id"]: item["spec"] for item in plan["runs"]},
                frozenset(
                    (trunk["id"], int(steps))
                    for trunk in plan.get("trunks", ())
                    for steps in trunk["branches"].values()
                ),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path}: expected a plan that `scalelab plan` wrote, but {error} is missing or odd"
            ) from None


def _record(folder: Path, studies: Sequence[Study]) -> Record:
    name = folder.name
    labels = {study.name: study.runs[name] for study in studies if name in study.runs}
    spec = next((study.specs[name] for study in studies if name in study.specs), {})
    run: Row | None = None
    status, reason = "unfinished", None
    if (folder / "run.json").exists():
        try:
            run = read_json(folder / "run.json")
            row("", run, {**NO_SCORE, "settings": NO_SETTINGS})  # has all that a row needs
        except (UserError, KeyError, TypeError) as error:
            run, status, reason = None, "damaged", f"run.json: {error}"
        else:
            spec, status, reason = run["spec"], run["status"], run["reason"]
            if run["id"] != name:
                status, reason = "damaged", f"run.json is that of run {run['id']}"
    return Record(name, folder, run, spec, status, reason, _scores(folder, name), labels)


def _scores(folder: Path, name: str) -> dict[str, Row]:
    """Whole evaluations of this run by their id; one that is damaged counts as not made."""
    found = {}
    for path in sorted(folder.glob("eval/*.json")):
        try:
            score = read_json(path)
            if score["run"] == name and {*NO_SCORE, "settings"} <= set(score):
                found[path.stem] = score
        except (UserError, KeyError, TypeError):
            continue
    return found


def main_evaluation(records: Sequence[Record]) -> str | None:
    """The evaluation that most of these runs have; of equals the first by id."""
    counts = Counter(name for record in records for name in record.scores)
    return min(counts, key=lambda name: (-counts[name], name), default=None)


def as_row(record: Record, evaluation: str | None, study: str | None = None) -> Row:
    """A run as the columns of runs.csv, and `studies`, `labels`, `evaluation`, `bytes`.

    `bytes` are those of all files in its folder. evaluation: the one to show; a run that lacks it
    shows its own where it has one alone. study: whose label to show.
    """
    names = list(record.scores)
    chosen = evaluation if evaluation in names else names[0] if len(names) == 1 else None
    score = record.scores.get(chosen or "", {**NO_SCORE, "settings": NO_SETTINGS})
    label = record.labels.get(study or "") or next(iter(record.labels.values()), None)
    if label is None:
        label = label_of(record.spec) if record.spec else record.id
    cells = row(label, record.run, score) if record.run else _planned(record, label, score)
    return {
        **cells,
        "id": record.id,
        "status": record.status,
        "reason": record.reason,
        "labels": tuple(dict.fromkeys(record.labels.values())) or (label,),
        "studies": tuple(record.labels),
        "evaluation": chosen,
        "bytes": size_of(record.folder),
    }


def _planned(record: Record, label: str, score: Row) -> Row:
    """What is known of a run that has not ended: its specification, and how far it had come."""
    nothing: Row = {"id": record.id, "label": label, "steps": record.steps}
    if not record.spec:
        return nothing
    try:
        counts = count(Shape(**record.spec["model"]))
    except (UserError, TypeError):
        return nothing  # a family that this version does not have
    tokens = record.steps * record.spec["training"]["batch_tokens"]
    run = {
        **dict.fromkeys(NOT_MEASURED),
        "id": record.id,
        "spec": record.spec,
        "counts": {
            "N": counts.n,
            "N_total": counts.n_total,
            "N_embedding": counts.n_embedding,
            "idle": counts.idle,
        },
        "D": tokens,
        "C": tokens * counts.training_flops,
        "C_6ND": 6 * counts.n_active * tokens,
        "steps": record.steps,
        "resumed_from": (),
    }
    return {**row(label, run, score), "checkpoint": None}


def size_of(path: Path) -> int:
    """Bytes of a file or of all files in a folder, links not followed."""
    if path.is_symlink() or not path.exists():
        return 0
    files = [path] if path.is_file() else path.rglob("*")
    return sum(one.lstat().st_size for one in files if one.is_file() and not one.is_symlink())


def flat(value: Any, prefix: str = "") -> Row:
    """Nested mappings as dotted keys: {"training": {"lr": 1}} is {"training.lr": 1}."""
    if not isinstance(value, dict):
        return {prefix: value}
    out: Row = {}
    for key, inner in value.items():
        out |= flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return out
