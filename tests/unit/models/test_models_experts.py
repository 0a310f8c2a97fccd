"""The sparse MLP: routing, the balance loss, and what the loss of a batch does not depend on."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from scalelab.models import build
from scalelab.models.layers.experts import BALANCE, Experts, balance
from scalelab.plan.families import Shape, count

SHAPE = Shape("moe", depth=2, width=16, heads=2, context=16, vocab=61, experts=4)


def experts(active: int = 2) -> Experts:
    """Four experts with normal weights."""
    layer = Experts(8, 6, 4, active)
    for place, parameter in enumerate(layer.parameters()):
        torch.nn.init.normal_(parameter, std=0.5, generator=torch.manual_seed(place))
    return layer


@pytest.mark.parametrize("active", [1, 2, 4])
def test_a_token_is_the_mean_of_its_best_experts_by_their_probabilities(active: int) -> None:
    layer, x = experts(active), torch.randn(3, 5, 8, generator=torch.manual_seed(9))
    with torch.no_grad():
        found, _ = layer(x)
        chances = layer.router(x).softmax(-1)
        for sequence in range(3):
            for token in range(5):
                best = chances[sequence, token].argsort(descending=True)[:active].tolist()
                expected, total = torch.zeros(8), 0.0
                for one in best:
                    gate, inner = (layer.up[one] @ x[sequence, token]).chunk(2)
                    share = chances[sequence, token, one]
                    expected += share * (layer.down[one] @ (F.silu(gate) * inner))
                    total += share
                assert torch.allclose(found[sequence, token], expected / total, atol=1e-5)


def test_an_expert_without_a_token_has_a_gradient_of_zeros() -> None:
    layer, x = experts(1), torch.randn(1, 6, 8, generator=torch.manual_seed(9)).abs()
    with torch.no_grad():
        layer.router.weight.copy_(torch.tensor([[3.0], [2.0], [1.0], [0.0]]).expand(4, 8))
    mixed, _ = layer(x)
    mixed.sum().backward()
    assert layer.up.grad is not None
    assert [bool(part.any()) for part in layer.up.grad] == [True, False, False, False]


def test_the_balance_loss_is_that_of_transformers() -> None:
    mixtral = pytest.importorskip("transformers.models.mixtral.modeling_mixtral")
    logits = torch.randn(1, 12, 4, generator=torch.manual_seed(3))
    chances = logits.softmax(-1)
    expected = mixtral.load_balancing_loss_func((logits[0],), 4, 2)
    found = balance(chances, chances.topk(2, -1).indices)
    # Theirs counts each of the two experts of a token, a mean over tokens; ours is their sum.
    assert found.item() == pytest.approx(BALANCE * 12 * expected.item() / 2, rel=1e-5)


def test_even_use_gives_the_least_balance_loss() -> None:
    even = torch.full((2, 8, 4), 0.25)
    chosen = torch.arange(16).view(2, 8, 1) % 4
    assert balance(even, chosen).item() == pytest.approx(BALANCE * 16)
    one = F.one_hot(torch.zeros(2, 8, dtype=torch.int64), 4).float()
    assert balance(one, torch.zeros_like(chosen)).item() == pytest.approx(4 * BALANCE * 16)


def test_the_balance_loss_is_in_the_gradient_and_not_in_the_loss() -> None:
    inputs, targets = torch.randint(61, (2, 4, 16), generator=torch.manual_seed(0))
    model = build(SHAPE, seed=1)
    loss = model(inputs, targets)
    assert loss.item() == pytest.approx(model.losses(inputs, targets).sum().item(), rel=1e-6)
    loss.backward()
    router = model.blocks[0].experts.router.weight
    whole = router.grad.clone()
    router.grad = None
    logits = model.logits(model.hidden(inputs)).flatten(0, 1)
    F.cross_entropy(logits, targets.flatten(), reduction="sum").backward()
    bare = router.grad.clone()
    router.grad = None
    model._run(inputs)[1].backward()
    assert router.grad.norm() > 1e-3 * bare.norm()
    assert torch.allclose(whole, bare + router.grad, atol=1e-4)


def test_gradients_do_not_depend_on_how_a_batch_is_cut_up() -> None:
    inputs, targets = torch.randint(61, (2, 6, 16), generator=torch.manual_seed(0))
    found = []
    for cuts in ((0, 6), (0, 2, 6)):
        model = build(SHAPE, seed=1)
        for start, end in itertools.pairwise(cuts):
            model(inputs[start:end], targets[start:end]).backward()
        found.append([parameter.grad for parameter in model.parameters()])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_a_sparse_model_computes_what_its_active_experts_cost() -> None:
    dense = count(Shape("llama", 2, 48, 2, 16, 61))
    sparse = count(Shape("moe", 2, 48, 2, 16, 61))
    router = 2 * 8 * 48
    assert sparse.n_active == dense.n + router, "the experts of a token are as wide as one MLP"
    assert sparse.matmul_flops == dense.matmul_flops + 2 * router
    assert sparse.idle == 2 * 6 * 3 * 48 * 64
    assert sparse.n == sparse.n_active + sparse.idle
    assert dense.n_active == dense.n
