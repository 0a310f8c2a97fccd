"""A step of DP-SGD (Abadi et al. 2016, arXiv:1607.00133, algorithm 1), its update left to AdamW.

The gradient of each sequence is clipped to the norm C; the clipped ones are summed, noise of
standard deviation sigma C is added to each coordinate of the sum, and it is divided by the number
of sequences that a step has on average. What is done with it afterwards, clipping of the whole and
the averages of AdamW, spends no more.

Shape suffixes: B sequences, T tokens, V vocabulary.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from scalelab.errors import UserError
from scalelab.models.registry import LanguageModel
from scalelab.seeds import stream
from scalelab.training.budget import Budget
from scalelab.training.paths import autocast
from scalelab.training.step import Stepper


class Apart(nn.Module):
    """Gradients of each sequence of a batch, all at once.

    Of the model's logits, since its own loss is a function that torch cannot take by sequence; a
    head that is the embedding is one parameter, with the gradient of both uses.
    """

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model
        self._gradients = vmap(grad_and_value(self._loss), in_dims=(None, 0, 0))

    def forward(self, inputs_BT: torch.Tensor) -> torch.Tensor:
        """Logits, (B, T, V)."""
        logits, penalty = self.model.predictions(inputs_BT)
        if penalty is not None:
            raise UserError(
                "training.dp_epsilon: found a family with a penalty over a whole batch, expected "
                "one whose loss is a sum over sequences"
            )
        return logits

    def _loss(
        self, weights: dict[str, torch.Tensor], inputs_T: torch.Tensor, targets_T: torch.Tensor
    ) -> torch.Tensor:
        logits_BTV = functional_call(self, weights, (inputs_T[None],))
        return F.cross_entropy(logits_BTV[0], targets_T)

    def gradients(
        self, inputs_BT: torch.Tensor, targets_BT: torch.Tensor
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Gradients of the mean losses by parameter, (B, ...), and these losses in nats, (B,)."""
        weights = {name: parameter.detach() for name, parameter in self.named_parameters()}
        with sdpa_kernel(SDPBackend.MATH):  # fused kernels would be called sequence by sequence
            return self._gradients(weights, inputs_BT, targets_BT)  # type: ignore[no-any-return]


class PrivateStepper(Stepper):
    """Takes batches of any size, none included, in place of one size."""

    def __init__(
        self,
        *of_stepper: Any,
        budget: Budget,
        sequences: int,
        seed: int,
        before: Callable[[], float],
    ) -> None:
        """sequences: of a step on average; before: the loss to tell of a step without any."""
        super().__init__(*of_stepper)
        self.apart = Apart(self.model)  # type: ignore[arg-type]
        self.budget, self.sequences, self.seed, self.before = budget, sequences, seed, before

    def __call__(
        self, inputs: torch.Tensor, targets: torch.Tensor, lr: float
    ) -> tuple[float, float]:
        """Loss in nats as that of a step of average size, and norm of the mean gradient."""
        loss, norm = super().__call__(inputs, targets, lr)
        return loss * self.sequences / len(inputs) if len(inputs) else self.before(), norm

    def divisor(self, targets: torch.Tensor) -> int:
        """Sequences of a step on average: the number that were drawn is not given away."""
        return self.sequences

    def disturb(self) -> None:
        """Add the noise of this step, drawn from (seed, step), to the summed gradient."""
        if not self.world.first:  # sums of the processes have it once
            return
        summed = self.optimizer.gradients
        step = int(self.optimizer.steps)
        generator = torch.Generator(summed.device)
        generator.manual_seed(stream(self.seed, f"noise of step {step}"))
        noise = torch.randn(len(summed), generator=generator, device=summed.device)
        summed.add_(noise, alpha=self.budget.noise * self.budget.clip)

    def _accumulate(self, inputs: torch.Tensor, targets: torch.Tensor, factor: float) -> float:
        total, where = 0.0, self.world.device
        parameters = dict(self.apart.named_parameters())
        for start in range(0, len(inputs), self.micro):
            part = slice(start, start + self.micro)
            with autocast(where, self.path):
                found, losses_B = self.apart.gradients(
                    inputs[part].to(where), targets[part].to(where)
                )
            squares = [one.flatten(1).square().sum(1) for one in found.values()]
            norms_B = torch.stack(squares).sum(0).sqrt()
            shares_B = (self.budget.clip / norms_B).clamp(max=1.0)
            for name, one in found.items():
                gradient = parameters[name].grad
                assert gradient is not None
                gradient.add_(torch.tensordot(shares_B, one, 1))
            total += float(losses_B.sum()) * targets.shape[1]
        return total
