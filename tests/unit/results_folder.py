"""A results folder of several studies: the run.json of a run that was trained, at several sizes."""

import copy
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalelab.files import digest, read_json, write_json

EVALUATION = "e" * 12
SIZES = (8, 16, 24, 32, 48)


@dataclass
class Results:
    """A results folder, and how to put runs and plans into it."""

    root: Path
    trained: Path

    def spec(self, width: int, lr: float = 0.01) -> dict[str, Any]:
        """A specification that differs in width and learning rate."""
        spec = copy.deepcopy(read_json(self.trained / "run.json")["spec"])
        spec["model"]["width"], spec["training"]["lr"] = width, lr
        return spec  # type: ignore[no-any-return]

    @staticmethod
    def identity(spec: dict[str, Any]) -> str:
        """The id of a run."""
        return digest(spec)

    def add(self, spec: dict[str, Any], loss: float | None, **changes: Any) -> str:
        """A finished run with its evaluation; its id."""
        name = self.identity(spec)
        folder = self.root / "runs" / name
        shutil.copytree(self.trained, folder)
        run = {**read_json(folder / "run.json"), "id": name, "spec": spec, **changes}
        counts = {**run["counts"], "N": 12 * spec["model"]["width"] ** 2}
        write_json(folder / "run.json", {**run, "counts": counts})
        if loss is not None:
            self.score(name, loss)
        return name

    def score(
        self, name: str, loss: float, evaluation: str = EVALUATION, split: str = "test"
    ) -> None:
        """An evaluation of a run."""
        settings = {"split": split, "context": 16, "stride": 16}
        losses = {"loss_nats": loss, "loss_nats_se": 0.01, "perplexity": 1.0, "bits_per_byte": 2.0}
        extent = {"tokens": 1999, "bytes": 1999, "text_sha256": "ab" * 32}
        path = self.root / "runs" / name / "eval" / f"{evaluation}.json"
        write_json(path, {"run": name, "settings": settings, **losses, **extent})

    def plan(self, study: str, runs: dict[str, dict[str, Any]], **more: Any) -> None:
        """A plan of {label: specification}."""
        items = [
            {"id": digest(s), "label": label, "spec": s, **_counts(s)} for label, s in runs.items()
        ]
        corpus = "0123456789ab"
        plan: dict[str, Any] = {"study": study, "evaluation_id": EVALUATION}
        plan |= {"corpus_id": corpus, "corpora": [corpus]}
        write_json(self.root / study / "plan.json", {**plan, "runs": items, "trunks": [], **more})


def _counts(spec: dict[str, Any]) -> dict[str, float]:
    """N, D and C of a specification, about."""
    n = 12 * spec["model"]["depth"] * spec["model"]["width"] ** 2
    d = spec["training"]["steps"] * spec["training"]["batch_tokens"]
    return {"N": n, "D": d, "C": 6 * n * d}
