"""What decoders share around their blocks: embeddings, final norm, output head, document attention.

Shape suffixes: B sequences, T tokens, D width, V vocabulary.
"""

from collections.abc import Iterable

import torch
from torch import nn

from scalelab.models.layers.documents import restarts
from scalelab.models.layers.head import all_logits, head_loss, head_losses
from scalelab.models.layers.rotary import angles
from scalelab.models.registry import LanguageModel
from scalelab.plan.families import Shape


class Decoder(LanguageModel):
    """Token embedding, blocks, final norm, head. A family gives its blocks and says what it has.

    A block takes x (B, T, D), cosines and sines of rotary positions (None without), and which
    tokens see which (B, T, T) (None: all before them); it gives x, or x and a penalty, which is
    added to the gradient of the loss and not to the loss.
    """

    def __init__(
        self,
        shape: Shape,
        blocks: Iterable[nn.Module],
        norm: nn.Module,
        tied: bool,
        head_bias: bool = False,
        positions: bool = False,
        turning: int = 0,
    ) -> None:
        """positions: learned ones; turning: numbers of a head with rotary ones."""
        super().__init__()
        self.shape, self.turning = shape, turning
        self.tokens = nn.Embedding(shape.vocab, shape.width)
        self.positions = nn.Embedding(shape.context, shape.width) if positions else None
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm
        self.head = None if tied else nn.Linear(shape.width, shape.vocab, bias=head_bias)
        self.head_dtype = torch.float32

    def hidden(self, inputs_BT: torch.Tensor) -> torch.Tensor:
        """Final hidden states, (B, T, D)."""
        return self._run(inputs_BT)[0]

    def logits(self, hidden_BTD: torch.Tensor) -> torch.Tensor:
        """Logits (..., V) of hidden states (..., D)."""
        return self._biased(hidden_BTD) @ self._head().T

    def forward(self, inputs_BT: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:
        """Summed loss in nats."""
        hidden, penalty = self._run(inputs_BT)
        loss = head_loss(self._biased(hidden), self._head(), targets_BT, self.head_dtype)
        return loss if penalty is None else loss + (penalty - penalty.detach())

    def predictions(self, inputs_BT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits, (B, T, V), and the penalty of the blocks, if they have one."""
        hidden, penalty = self._run(inputs_BT)
        return all_logits(self._biased(hidden), self._head()), penalty

    def losses(self, inputs_BT: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:
        """Loss in nats by token, (B, T)."""
        return head_losses(self._biased(self.hidden(inputs_BT)), self._head(), targets_BT)

    def _run(self, inputs_BT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        time = inputs_BT.shape[1]
        positions, seen_BTT = torch.arange(time, device=inputs_BT.device), None
        if self.separator is not None:
            positions, seen_BTT = restarts(inputs_BT, self.separator)
        x_BTD = self.tokens(inputs_BT)
        if self.positions is not None:
            if time > self.positions.num_embeddings:
                raise ValueError(
                    f"{time} tokens, but the model has positions for "
                    f"{self.positions.num_embeddings}"
                )
            x_BTD = x_BTD + self.positions(positions)
        cos, sin = angles(positions, self.turning) if self.turning else (None, None)
        total: torch.Tensor | None = None
        for block in self.blocks:
            x_BTD = block(x_BTD, cos, sin, seen_BTT)
            if isinstance(x_BTD, tuple):
                x_BTD, penalty = x_BTD
                total = penalty if total is None else total + penalty
        return self.norm(x_BTD), total

    def _head(self) -> torch.Tensor:
        """The head (V, D), its bias as one column more."""
        if self.head is None:
            return self.tokens.weight
        if self.head.bias is None:
            return self.head.weight
        return torch.cat([self.head.weight, self.head.bias[:, None]], 1)

    def _biased(self, hidden_BTD: torch.Tensor) -> torch.Tensor:
        """Hidden states with the 1 that the bias of the head is multiplied with."""
        if self.head is None or self.head.bias is None:
            return hidden_BTD
        return torch.cat([hidden_BTD, hidden_BTD.new_ones(*hidden_BTD.shape[:-1], 1)], -1)
