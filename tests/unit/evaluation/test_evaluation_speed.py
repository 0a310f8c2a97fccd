"""Forms of a model that are computed as they are kept: their numbers, and what their times are."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from test_evaluation_compression import KINDS, model_of, subject

from scalelab.evaluation.columns import SPEED
from scalelab.evaluation.measures import NotMeasured, _forms, pruned, speed
from scalelab.evaluation.measures._weights import changed, matrices


def logits(model):
    ids = torch.from_numpy(np.random.default_rng(1).integers(1, 24, (3, 9)))
    with torch.inference_mode():
        return model(ids).logits.float()


LINEAR = sorted({*KINDS} - {"Mixtral"})


def lively(kind):
    """Matrices so large that every form of them moves the logits."""
    model = model_of(kind)
    with torch.no_grad():
        for weight in matrices(model).values():
            weight.mul_(20)
    return model


@pytest.mark.parametrize("kind", LINEAR)
def test_channels_that_are_cut_out_give_what_zeroed_ones_give(kind):
    model = lively(kind)
    found = _forms.forms(model)
    assert torch.allclose(logits(found["fp32"]), logits(model), atol=1e-5)
    inner = sum(weight.numel() for name, weight in matrices(model).items() if "att" not in name)
    for percent in (25, 50):
        narrow = found[f"channels{percent}"]
        with changed(model, lambda share=percent / 100: pruned.narrow(model, share)):
            assert torch.allclose(logits(narrow), logits(model), atol=1e-4)
        assert not torch.allclose(logits(narrow), logits(model), atol=1e-2)
        left = sum(w.numel() for name, w in matrices(narrow).items() if "att" not in name)
        assert left == pytest.approx(inner * (1 - percent / 100))


@pytest.mark.parametrize("kind", LINEAR)
def test_each_number_is_kept_and_computed_in_its_form(kind):
    model = lively(kind)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    found, exact = _forms.forms(model), logits(model)
    for name, dtype in _forms.DTYPES.items():
        assert {weight.dtype for weight in found[name].parameters()} == {dtype}
        away = (logits(found[name]) - exact).abs().max()
        assert 0 < away < 0.2 * exact.abs().max(), name
    plain = dict(found["fp32"].named_modules())
    packed = {
        name: layer.weight()
        for name, layer in found["int8"].named_modules()
        if type(layer).__module__.startswith("torch.ao") and hasattr(layer, "in_features")
    }
    assert {f"{name}.weight" for name in packed} == {*matrices(model)}
    for name, weight in packed.items():
        true = plain[name].weight
        assert weight.int_repr().dtype == torch.int8
        # Nearest of 255 levels that each output has of its own.
        step = true.abs().amax(1, keepdim=True) / 127.5
        assert ((weight.dequantize() - true).abs() <= 0.51 * step).all(), name
    assert not torch.equal(logits(found["int8"]), exact)
    assert all(torch.equal(before[name], weight) for name, weight in model.named_parameters())


def test_experts_are_refused_in_one_sentence():
    with pytest.raises(
        NotMeasured, match=r"experts\.\w+ is a matrix of MixtralExperts, and quicker"
    ):
        _forms.forms(model_of("Mixtral"))


def test_mlps_that_are_kept_otherwise_have_no_narrower_form():
    """Phi-3 reads gates and what they gate by one matrix."""
    import transformers

    config = transformers.Phi3Config(
        hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2,
        vocab_size=24, bos_token_id=0, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    found = _forms.forms(transformers.Phi3ForCausalLM(config).eval())
    assert list(found) == ["fp32", "bf16", "fp16", "int8"]


def test_jobs_take_turns_and_every_round_but_the_first_counts():
    """A clock that gives each job a time known by its name and its round."""
    order, now = [], [0.0]

    def job(name, seconds):
        order.append(name)
        turn = (len(order) - 1) // 3
        now[0] += 100.0 if turn == 0 else seconds * turn

    asked = {"a": 1.0, "b": 2.0, "c": 4.0}
    jobs = {name: partial(job, name, seconds) for name, seconds in asked.items()}
    found = speed.in_turn(jobs, 4, lambda: now[0])
    assert "".join(order) == "abcbcacababcbca"
    for name, seconds in asked.items():
        assert found[name] == pytest.approx(seconds * np.arange(1, 5))


def test_what_slows_all_down_moves_no_speed():
    """20 tokens in 2 s beside a yardstick of 4 tokens in 1 s, in rounds of any pace."""
    pace = np.array([1.0, 7.0, 1.0, 3.0, 1.0])
    seconds = {"fp32": 2 * pace, speed.YARDSTICK: pace}
    found = speed.rates(seconds, {"fp32": 20, speed.YARDSTICK: 4})
    assert (found["fp32"].value, found["fp32"].se) == (pytest.approx(10), pytest.approx(0))
    assert found[speed.YARDSTICK].value == 4 and found[speed.YARDSTICK].se > 0


def test_the_error_of_a_median_from_quartiles():
    """Quartiles 2 and 4 of five numbers: 1.25 x 2 / (1.35 x sqrt 5), whatever the largest is."""
    for largest in (5.0, 500.0):
        found = speed.median_of(np.array([3.0, 1.0, largest, 2.0, 4.0]))
        assert found.value == 3 and found.se == pytest.approx(1.25 * 2 / (1.35 * 5**0.5))


def test_columns_are_losses_of_each_form_and_speeds_of_each_batch():
    model = lively("GPT2")
    asked = subject(model)
    with pytest.raises(NotMeasured, match="no decoder that writes"):
        speed.speed(asked)
    found = speed.speed(replace(asked, decode=lambda rows: []))
    zeroed = pruned.pruned(asked)
    for percent in pruned.CHANNELS:
        name = f"channels{percent}_excess_nats"
        assert found[name].value == pytest.approx(zeroed[name].value, abs=1e-5)
    assert found["loss_nats"].value == pytest.approx(zeroed["loss_nats"].value, abs=1e-6)
    forms = ["fp32", "bf16", "fp16", "int8", "channels12", "channels25", "channels50"]
    timed = [name for name in found if name.endswith(SPEED)]
    forms.append(speed.YARDSTICK)
    assert timed == [f"{form}_{count}{SPEED}" for count in (1, 64) for form in forms]
    assert all(found[name].value > 0 and found[name].se >= 0 for name in timed)
    same = [speed.yardstick(asked).model.state_dict() for _ in range(2)]
    assert all(torch.equal(weight, same[1][name]) for name, weight in same[0].items())
