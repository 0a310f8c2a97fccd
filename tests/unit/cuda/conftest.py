"""A CUDA device for the tests of this folder; all other tests are of the processor."""

import pytest


@pytest.fixture(autouse=True)
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the product take the CUDA device; where there is none the test is skipped."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    monkeypatch.setenv("SCALELAB_DEVICE", "cuda")
