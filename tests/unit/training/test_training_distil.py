"""Distillation: the objective, its gradient, and runs that learn from a finished run."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from scalelab.errors import UserError
from scalelab.files import read_json, write_json
from scalelab.models import build, registry
from scalelab.plan.families import Shape, objective
from scalelab.plan.identity import run_id
from scalelab.plan.objectives import CAUSAL
from scalelab.training.distil import Distilled
from scalelab.training.loop import Interrupted
from scalelab.training.run import train

Spec = Callable[..., dict[str, Any]]
INPUTS = torch.arange(32).view(2, 16) % 20
TARGETS = (INPUTS * 7 + 3) % 20


def model_of(family: str, seed: int, width: int = 8) -> Any:
    return build(Shape(family=family, depth=2, width=width, heads=2, context=16, vocab=20), seed)


def gradient(model: Any, loss: torch.Tensor) -> torch.Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, [*model.parameters()])])


@pytest.mark.parametrize("family", [n for n in registry.names() if objective(n) is CAUSAL])
def test_a_teacher_without_weight_changes_nothing(family: str) -> None:
    """Penalties of a family are kept, and the logits are those of its own loss."""
    model, teacher = model_of(family, 1), model_of(family, 2, 16)
    objective, loss = Distilled(model, teacher, 0.0, 3.0)(INPUTS, TARGETS)
    plain = model(INPUTS, TARGETS)
    assert loss.item() == pytest.approx(plain.item(), rel=1e-5)
    torch.testing.assert_close(
        gradient(model, objective), gradient(model, plain), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize(("weight", "temperature"), [(1.0, 1.0), (0.3, 2.0)])
def test_the_objective_is_that_of_the_paper(weight: float, temperature: float) -> None:
    student, teacher = model_of("gpt2", 1), model_of("gpt2", 2, 16)
    with torch.no_grad():
        student.tokens.weight *= 20
        teacher.tokens.weight *= 20
    objective, loss = Distilled(student, teacher, weight, temperature)(INPUTS, TARGETS)

    def logarithms(model: Any, divisor: float) -> np.ndarray:
        logits = model.predictions(INPUTS)[0].detach().double().numpy() / divisor
        return np.asarray(logits - np.log(np.exp(logits).sum(-1, keepdims=True)))

    p, q = logarithms(teacher, temperature), logarithms(student, temperature)
    apart = (np.exp(p) * (p - q)).sum()
    plain = logarithms(student, 1.0)
    hard = -np.take_along_axis(plain, TARGETS.numpy()[..., None], -1).sum()
    assert loss.item() == pytest.approx(hard, rel=1e-5)
    assert apart > 1
    expected = (1 - weight) * hard + weight * temperature**2 * apart
    assert objective.item() == pytest.approx(expected, rel=1e-4)


def test_a_student_that_is_its_teacher_has_nothing_to_learn() -> None:
    model = model_of("gpt2", 1)
    objective, _ = Distilled(model, copy.deepcopy(model), 1.0, 2.0)(INPUTS, TARGETS)
    assert objective.item() == pytest.approx(0, abs=1e-4)
    assert gradient(model, objective).abs().max() < 1e-5


@pytest.fixture
def taught(spec: Spec, corpus_folder: Path, tmp_path: Path) -> dict[str, Any]:
    """The specification of a student, whose teacher lies in tmp_path / teacher."""
    teacher = spec(steps=25)
    teacher["model"] = {**teacher["model"], "width": 16}
    train(teacher, corpus_folder, tmp_path / "teacher", 1, lambda _: None)
    student = spec(steps=25)
    distil = {"teacher": run_id(teacher), "weight": 1.0, "temperature": 1.0}
    student["training"] = {**student["training"], "distil": distil}
    return student


def test_a_student_learns_the_text_from_its_teacher_alone_and_goes_on_where_it_was(
    taught: dict[str, Any], corpus_folder: Path, tmp_path: Path
) -> None:
    where = {"teacher": tmp_path / "teacher"}
    whole = train(taught, corpus_folder, tmp_path / "a", 1, lambda _: None, **where)
    assert whole["status"] == "ok"
    assert whole["train_loss_nats"] < np.log(257) - 0.2, "no text was in its objective"
    asked = iter([False] * 11 + [True] * 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scalelab.training.loop.orphaned", lambda: next(asked))
        patch.setattr("scalelab.training.loop.ORPHAN_SECONDS", 0)
        with pytest.raises(Interrupted):
            train(taught, corpus_folder, tmp_path / "b", 1, lambda _: None, **where)
    again = train(taught, corpus_folder, tmp_path / "b", 1, lambda _: None, **where)
    assert again["resumed_from"]
    assert again["train_loss_nats"] == whole["train_loss_nats"]
    first, second = (
        load_file(tmp_path / name / "checkpoint" / "model.safetensors") for name in "ab"
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_another_teacher_than_the_one_that_is_named_is_one_sentence(
    taught: dict[str, Any], spec: Spec, corpus_folder: Path, tmp_path: Path
) -> None:
    def attempt(settings: dict[str, Any], teacher: Path | None) -> None:
        train(settings, corpus_folder, tmp_path / "run", 1, lambda _: None, teacher=teacher)

    with pytest.raises(UserError, match="--teacher: found no folder, expected that of run"):
        attempt(taught, None)
    with pytest.raises(UserError, match="expected none, since the run has no teacher"):
        attempt(spec(steps=25), tmp_path / "teacher")
    record = tmp_path / "teacher" / "run.json"
    for key, value in {"status": "diverged", "id": "0" * 12}.items():
        kept = read_json(record)
        write_json(record, {**kept, key: value})
        with pytest.raises(UserError, match=rf"--teacher: found run .*{value}.*; expected run"):
            attempt(taught, tmp_path / "teacher")
        write_json(record, kept)
