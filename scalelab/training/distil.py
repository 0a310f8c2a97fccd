"""Distillation (Hinton et al. 2015, arXiv:1503.02531): a student learns a teacher's distribution.

The objective of a token is (1 - w) CE + w T^2 KL(p || q): CE the cross-entropy of the text, p and
q the distributions of teacher and student, their logits divided by the temperature T (section 2
there, whose factor T^2 keeps the gradients of both parts in proportion).
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from scalelab.errors import UserError
from scalelab.files import read_json
from scalelab.models import LanguageModel
from scalelab.models.checkpoint import load_model
from scalelab.plan.teachers import teacher_id


class Distilled:
    """A student beside its teacher, called as a model is in training."""

    def __init__(
        self, student: LanguageModel, teacher: LanguageModel, weight: float, temperature: float
    ) -> None:
        self.student, self.teacher = student, teacher
        self.weight, self.temperature = weight, temperature

    def __call__(
        self, inputs_BT: torch.Tensor, targets_BT: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(objective, loss of the text), both summed over (B, T), in nats."""
        logits, penalty = self.student.predictions(inputs_BT)
        with torch.no_grad():
            wanted, _ = self.teacher.predictions(inputs_BT)
        loss = F.cross_entropy(logits.flatten(0, 1), targets_BT.flatten(), reduction="sum")
        t = self.temperature
        apart = F.kl_div(
            F.log_softmax(logits / t, -1),
            F.log_softmax(wanted / t, -1),
            reduction="sum",
            log_target=True,
        )
        objective = (1 - self.weight) * loss + self.weight * t**2 * apart
        return objective if penalty is None else objective + penalty, loss.detach()


def open_teacher(
    spec: dict[str, Any], folder: Path | None, separator: int, where: torch.device
) -> LanguageModel | None:
    """The teacher of a run, whose finished run lies in `folder`; None where it has none.

    Raises:
        UserError: the folder is not given, or holds another run, or one that has failed.
    """
    wanted = teacher_id(spec)
    if (wanted is None) != (folder is None):
        found = "no folder" if folder is None else str(folder)
        what = "none, since the run has no teacher" if wanted is None else f"that of run {wanted}"
        raise UserError(f"--teacher: found {found}, expected {what}")
    if folder is None:
        return None
    run = read_json(folder / "run.json")
    if (run["id"], run["status"]) != (wanted, "ok"):
        raise UserError(
            f"--teacher: found run {run['id']} in {folder}, which ended as {run['status']}; "
            f"expected run {wanted}, ended as ok"
        )
    model, _ = load_model(folder, run, separator)
    return model.to(where).eval().requires_grad_(False)
