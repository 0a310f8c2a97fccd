"""Models for tests of the families."""

import torch

from scalelab.models import LanguageModel, build
from scalelab.plan.families import Shape


def rough(shape: Shape) -> LanguageModel:
    """A model with biases and norms that are not 0 and 1, and attention that is far from even."""
    model = build(shape, seed=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.manual_seed(1)) / 4)
    return model
