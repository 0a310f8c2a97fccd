"""The verb `train`: one specification in; checkpoint, metrics and manifest out."""

import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from scalelab import sums
from scalelab.corpus.shards import Corpus, load
from scalelab.errors import UserError, first_line
from scalelab.files import atomic_folder, digest, read_json, write_json
from scalelab.models import LanguageModel, attend_to, export
from scalelab.models.registry import get
from scalelab.plan.families import Shape, count
from scalelab.plan.identity import computed, run_id
from scalelab.plan.labels import label_of
from scalelab.plan.trunks import common
from scalelab.provenance import manifest, stage_digest
from scalelab.training import machine, paths, state
from scalelab.training.begin import open_start
from scalelab.training.distil import open_teacher
from scalelab.training.distributed import World, join, leaving
from scalelab.training.loop import Interrupted, Outcome, Trainer, silent, write_metrics
from scalelab.training.progress import FILE
from scalelab.training.step import is_out_of_memory
from scalelab.training.stretches import from_here

MASK = "[MASK]"
"""What a tokenizer calls the token that stands for a hidden one."""
WAIT_SECONDS = 90
"""How long a run waits for another process that holds it. An orphan of a killed workflow saves its
state and leaves within seconds."""


@dataclass(frozen=True)
class Job:
    """What a training process holds: its corpus, its identity, its place among the others."""

    spec: dict[str, Any]
    corpus_folder: Path
    corpus: Corpus
    folder: Path
    identity: str
    """Stands for specification, data and code. A state of other threads or processes is the run's
    own: what differs is rounding."""
    trunk_identity: str
    threads: int
    world: World
    report: Callable[[str], None]
    label: str
    teacher: Path | None = None
    """Folder of the finished run that is the teacher, where there is one."""
    init: str | None = None
    """Folder or name of the checkpoint that it starts from, where there is one."""

    @property
    def data_hash(self) -> str:
        """Hash of the content of the corpus."""
        return str(self.corpus.manifest["data_hash"])

    def trainer(self) -> Trainer:
        """A trainer at step 0, whose states lie in the folder."""
        made = Trainer(
            self.spec,
            self.corpus.tokens["train"],
            self.folder / "state",
            self.identity,
            self.report,
            self.label,
            self.world,
            self.trunk_identity,
            open_teacher(self.spec, self.teacher, self.corpus.separator, self.world.device),
            open_start(self.spec, self.init, self.corpus_folder),
        )
        family, attention = self.spec["model"]["family"], self.spec["training"].get("attention")
        attend_to(made.model, family, attention or "stream", self.corpus.separator)
        return made


@contextmanager
def job(
    spec: dict[str, Any],
    corpus_folder: Path,
    folder: Path,
    threads: int,
    report: Callable[[str], None],
    label: str,
    teacher: Path | None = None,
    init: str | None = None,
) -> Iterator[Job]:
    """Hold a run's folder: the corpus read, the machine set up, other processes joined.

    Raises:
        UserError: the corpus does not fit the specification, or another process holds the folder.
    """
    corpus = load(corpus_folder)
    if corpus.vocab_size != spec["model"]["vocab"]:
        raise UserError(
            f"{corpus_folder}: the vocabulary has {corpus.vocab_size} tokens, the model expects "
            f"{spec['model']['vocab']}"
        )
    machine.set_up(threads)
    world = join(machine.device())
    made_by = [
        corpus.manifest["data_hash"],
        stage_digest("train", family=spec["model"]["family"]),
    ]
    with leaving(world), _owner(folder, label, report) if world.first else nullcontext():
        if world.first:
            _sweep(folder)
        world.wait()  # no process reads states before the first one holds the folder
        yield Job(
            spec,
            corpus_folder,
            corpus,
            folder,
            digest([computed(spec), *made_by]),
            digest([computed(common(spec)), *made_by]),
            threads,
            world,
            report if world.first else silent,
            label,
            teacher,
            init,
        )


def train(
    spec: dict[str, Any],
    corpus_folder: Path,
    folder: Path,
    threads: int,
    report: Callable[[str], None],
    label: str = "",
    checkpoint_seconds: float = 30,
    start: Path | None = None,
    teacher: Path | None = None,
    init: str | None = None,
) -> dict[str, Any]:
    """Train one run into `folder` and return what its run.json holds.

    Leaves checkpoint/ (opened by `AutoModelForCausalLM.from_pretrained`), metrics.jsonl and, last,
    run.json. A run that was stopped is taken up at its last state; one that is complete is left
    alone; one that diverges or has no memory ends with that status. start: the state of a trunk,
    whose steps need not be trained again where it is one of this run. teacher: the folder of the
    run that it is distilled from. init: the checkpoint that it starts from, a folder or a name on
    the hub. Of several processes the first writes and returns; the others return {}.

    Raises:
        UserError: the corpus does not fit the specification, or another process holds the run.
        Interrupted: the process was asked to stop (state saved).
    """
    label = label or label_of(spec)
    with job(spec, corpus_folder, folder, threads, report, label, teacher, init) as this:
        first = this.world.first
        complete = _complete(this) if first else None
        if this.world.total([float(bool(complete))])[0]:
            this.report(f"{label}: already complete")
            return complete or {}
        try:
            trainer = this.trainer()
        except (RuntimeError, MemoryError) as error:
            if this.world.size > 1 or not is_out_of_memory(error):
                raise
            return _no_room(this, first_line(error))
        with signals() as stopped:
            outcome = trainer.run(checkpoint_seconds, stopped, start)
        model = trainer.trained()
        if not first:
            return {}
        weights = next(trainer.model.parameters()).dtype
        result = _result(this, outcome, str(weights).removeprefix("torch."))
        write_metrics(folder / "metrics.jsonl", outcome.records)
        result["checkpoint_bytes"] = _write_checkpoint(
            folder / "checkpoint", model, trainer.shape, this, result
        )
        write_json(folder / "run.json", result)
        state.remove(trainer.folder)
        trainer.progress.remove()
    report(
        f"{label}: {outcome.status}"
        + (f" ({outcome.reason})" if outcome.reason else "")
        + f", {outcome.steps:,} steps in {outcome.seconds:.0f} s, "
        f"{result['tokens_per_second']:,.0f} tokens/s"
    )
    return result


def _no_room(this: Job, why: str) -> dict[str, Any]:
    """The record of a run whose model does not fit the memory: its checkpoint holds no weights."""
    wanted = this.spec["training"]["precision"]
    path = paths.ComputePath("fp32" if wanted == "auto" else wanted, by_hand=False)
    reason = f"step 1: no memory for the model and its optimiser: {why}"
    outcome = Outcome("oom", reason, 0, 0.0, path, 0, [], 0, stretches=[from_here(0, this.world)])
    result = _result(this, outcome, "float32")
    write_metrics(this.folder / "metrics.jsonl", [])
    with atomic_folder(this.folder / "checkpoint") as temporary:
        write_json(temporary / "scalelab.json", {"run": result["id"], **result["provenance"]})
    result["checkpoint_bytes"] = 0
    write_json(this.folder / "run.json", result)
    this.report(f"{this.label}: oom ({reason})")
    return result


def _result(this: Job, outcome: Outcome, weights: str) -> dict[str, Any]:
    path, where = outcome.path, this.world.device
    counts = count(Shape(**this.spec["model"]))
    peak = _peak(where, path) * this.world.size
    spec = this.spec
    tokens = outcome.steps * spec["training"]["batch_tokens"]
    tail = outcome.records[-max(1, len(outcome.records) // 20) :]
    last = sum(record["loss_nats"] for record in tail) / len(tail) if tail else None
    return {
        "id": run_id(spec),
        "spec": spec,
        "status": outcome.status,
        "reason": outcome.reason,
        "counts": {
            "N": counts.n,
            "N_total": counts.n_total,
            "N_embedding": counts.n_embedding,
            **asdict(counts),
        },
        "D": tokens,
        "steps": outcome.steps,
        "C": tokens * counts.training_flops,
        "C_6ND": 6 * counts.n_active * tokens,
        "train_loss_nats": last,
        "seconds": round(outcome.seconds, 3),
        "tokens_per_second": round(tokens / outcome.seconds, 1) if outcome.seconds else 0.0,
        "peak_flops_per_second": float(f"{peak:.4g}") or None,
        "mfu": (
            round(tokens * counts.training_flops / outcome.seconds / peak, 4)
            if outcome.seconds and peak and len(outcome.stretches) == 1
            else None
        ),
        "peak_memory_bytes": machine.peak_memory_bytes(where),
        "state_bytes": outcome.checkpoint_bytes,
        "threads": this.threads,
        "processes": this.world.size,
        "stretches": outcome.stretches,
        "precision": path.precision,
        "weights": weights,
        "gradients_by_hand": path.by_hand,
        "micro_sequences": outcome.micro,
        "device": where.type,
        "resumed_from": outcome.resumed_from,
        "trunk_steps": outcome.branched_at or 0,
        **({"init": {"from": this.init, **spec["training"]["init"]}} if this.init else {}),
        "identity": this.identity,
        "provenance": manifest(spec, this.data_hash),
        **({"privacy": outcome.budget.record(spec["model"]["context"])} if outcome.budget else {}),
    }


def _peak(where: Any, path: paths.ComputePath) -> float:
    """FLOPs a second of a large product; 0 where a run has left no memory for it."""
    try:
        return machine.peak_flops_per_second(where, paths.DTYPES[path.precision])
    except RuntimeError as error:
        if is_out_of_memory(error):
            return 0.0
        raise


def _complete(this: Job) -> dict[str, Any] | None:
    folder = this.folder
    try:
        result: dict[str, Any] = read_json(folder / "run.json")
    except UserError:
        return None
    whole = (folder / "metrics.jsonl").exists() and (
        folder / "checkpoint" / ("model.safetensors" if result.get("steps") else "scalelab.json")
    ).exists()
    same = (result.get("identity"), result.get("threads")) == (this.identity, this.threads)
    return result if whole and same else None


def _write_checkpoint(
    path: Path, model: LanguageModel, shape: Shape, this: Job, result: dict[str, Any]
) -> int:
    """The model in transformers' layout, written without importing transformers (2 s a job)."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    config, weights = export(model, shape)
    separator = this.corpus.manifest["tokenizer"]["separator"]
    with atomic_folder(path) as temporary:
        try:
            save_file(weights, temporary / "model.safetensors", metadata={"format": "pt"})
        except SafetensorError as error:
            raise _of_system(error, path) from None
        write_json(temporary / "config.json", config)
        special = get(shape.family).special(shape)
        tokenizer = (Path(this.corpus_folder) / "tokenizer.json").read_bytes()
        (temporary / "tokenizer.json").write_bytes(_with_tokens(tokenizer, shape.vocab, special))
        write_json(
            temporary / "tokenizer_config.json",
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "model_max_length": shape.context,
                "bos_token": separator,
                "eos_token": separator,
                **({"mask_token": MASK} if MASK in special else {}),
                "clean_up_tokenization_spaces": False,
            },
        )
        write_json(temporary / "scalelab.json", {"run": result["id"], **result["provenance"]})
        sums.write(temporary / sums.CHECKPOINT, [*temporary.iterdir()])
        return sum(file.stat().st_size for file in temporary.iterdir())


def _with_tokens(tokenizer: bytes, vocab: int, special: Sequence[str]) -> bytes:
    """A tokenizer.json with the tokens of a family after the vocabulary."""
    if not special:
        return tokenizer
    told = json.loads(tokenizer)
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    told["added_tokens"] += [
        {"id": vocab + place, "content": content, **flags, "special": True}
        for place, content in enumerate(special)
    ]
    return json.dumps(told, ensure_ascii=False, indent=2).encode()


def _of_system(error: Exception, path: Path) -> Exception:
    """The error of the system that safetensors tells in words alone; the error itself otherwise."""
    told = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(told[1]), os.strerror(int(told[1])), str(path)) if told else error


def _sweep(folder: Path) -> None:
    """Remove what a process that was killed left behind; the owner's lock is held."""
    (folder / FILE).unlink(missing_ok=True)
    for left in [*folder.glob(".*.tmp"), *folder.glob("state/.*.tmp")]:
        shutil.rmtree(left) if left.is_dir() else left.unlink()


@contextmanager
def _owner(folder: Path, label: str, report: Callable[[str], None]) -> Iterator[None]:
    """Hold the run's lock. The system frees it when a process dies, however it dies."""
    lock_file = folder.parent / ".locks" / f"{folder.name}.lock"
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0.1)
    except Timeout:
        report(f"{label}: another process holds this run, waiting up to {WAIT_SECONDS} s")
        try:
            lock.acquire(timeout=WAIT_SECONDS)
        except Timeout:
            raise UserError(
                f"{folder}: another process trains this run and still holds {lock_file}; "
                "wait for it or end it, then run the same command again"
            ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def signals() -> Iterator[Callable[[], bool]]:
    """Turn SIGTERM and Ctrl-C into a flag that the loop looks at."""
    caught: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: caught.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield lambda: bool(caught)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


__all__ = ["Interrupted", "read_metrics", "train"]
