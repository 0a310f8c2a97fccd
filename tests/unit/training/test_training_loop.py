"""The loop: micro-batches, resuming bit for bit, and endings that are no crash."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from scalelab.errors import UserError
from scalelab.models.layers.head import HeadLoss
from scalelab.plan.passes import MICRO_TOKENS
from scalelab.training import state
from scalelab.training.loop import Interrupted, Outcome, Trainer

Spec = Callable[..., dict[str, Any]]
Make = Callable[..., Trainer]
TIMES = ("seconds", "tokens_per_second")


def never() -> bool:
    """The run is not asked to stop."""
    return False


def same(first: Outcome, second: Outcome) -> bool:
    """Whether two runs have the same metrics, times left out."""

    def lines(outcome: Outcome) -> list[dict[str, Any]]:
        return [{k: v for k, v in line.items() if k not in TIMES} for line in outcome.records]

    return lines(first) == lines(second)


def weights(trainer: Trainer) -> torch.Tensor:
    """All weights, as one vector."""
    return trainer.optimizer.values.clone()


def test_loss_falls_and_the_record_is_whole(spec: Spec, trainer: Make) -> None:
    one = trainer(spec(steps=60))
    outcome = one.run(1e9, never)
    assert (outcome.status, outcome.reason, outcome.steps) == ("ok", None, 60)
    assert [line["step"] for line in outcome.records] == [*range(1, 61)]
    assert [line["tokens"] for line in outcome.records] == [64 * k for k in range(1, 61)]
    for line in outcome.records:
        assert line["flops"] == line["tokens"] * one.counts.training_flops
        assert set(line) == {
            *("step", "tokens", "flops", "loss_nats", "lr"),
            *("grad_norm", "tokens_per_second", "seconds"),
        }
    assert abs(outcome.records[0]["loss_nats"] - math.log(257)) < 0.5
    assert outcome.records[-1]["loss_nats"] < 4.5
    assert outcome.records[-1]["lr"] == pytest.approx(0.01 / 16)
    assert outcome.checkpoint_bytes == 0


def test_long_runs_have_about_150_lines(spec: Spec, trainer: Make) -> None:
    outcome = trainer(spec(steps=303, batch_tokens=32)).run(1e9, never)
    steps = [line["step"] for line in outcome.records]
    assert steps == [1, *range(2, 303, 2), 303]
    assert [line["tokens"] for line in outcome.records] == [32 * step for step in steps]


def test_the_first_line_is_the_mean_loss_by_token(spec: Spec, trainer: Make) -> None:
    one = trainer(spec())
    inputs, targets = one.batches.step(0)
    with torch.no_grad():
        logits = one.model.hidden(inputs) @ one.model.tokens.weight.T
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()
    outcome = one.run(1e9, never)
    assert outcome.records[0]["loss_nats"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("micro", [1, 2, 3, 5, 8])
def test_micro_batches_change_neither_loss_nor_weights(
    spec: Spec, trainer: Make, tmp_path: Path, micro: int
) -> None:
    """Case T03: 16 sequences at once, and in parts of 1 to 8.

    A corpus is packed, so sequences are equally long; parts of 3 and of 5 leave a last one that has
    fewer tokens than the others. The loss of a part is a sum in fp32, so it is compared to 1e-6 of
    itself.
    """
    settings = spec(steps=2, batch_tokens=256, lr=0.003)
    whole, parts = trainer(settings), trainer(settings, folder=tmp_path / "other")
    assert whole.stepper.micro == 16
    parts.stepper.micro = micro
    first, second = whole.run(1e9, never), parts.run(1e9, never)
    for one, other in zip(first.records, second.records, strict=True):
        assert one["loss_nats"] == pytest.approx(other["loss_nats"], rel=1e-6)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-5)
    assert torch.allclose(whole.optimizer.first, parts.optimizer.first, atol=1e-6)
    # AdamW turns rounding in a gradient that is truly 0 (the biases of keys) into whole steps.
    real = whole.optimizer.second.sqrt() > 1e-5
    assert real.float().mean() > 0.95
    assert torch.allclose(weights(whole)[real], weights(parts)[real], atol=1e-6)


def test_a_batch_is_cut_so_that_a_forward_pass_stays_small(
    spec: Spec, trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MICRO_TOKENS, "cpu", 40)
    assert trainer(spec()).stepper.micro == 2
    monkeypatch.setitem(MICRO_TOKENS, "cpu", 1)
    assert trainer(spec()).stepper.micro == 1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("stops", [[1], [20], [7, 8, 41]])
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(
    spec: Spec, trainer: Make, tmp_path: Path, precision: str, stops: list[int]
) -> None:
    settings = spec(precision=precision)
    straight = trainer(settings, folder=tmp_path / "straight")
    expected = straight.run(1e9, never)
    for at in stops:
        one = trainer(settings)
        with pytest.raises(Interrupted, match=f"stopped at step {at}, state saved"):
            one.run(1e9, lambda one=one, at=at: one.done >= at)
    last = trainer(settings)
    outcome = last.run(1e9, never)
    assert outcome.resumed_from == stops
    assert torch.equal(weights(last), weights(straight))
    assert same(outcome, expected)
    assert [line["step"] for line in outcome.records] == [*range(1, 61)]
    seconds = [line["seconds"] for line in outcome.records]
    assert seconds == sorted(seconds), "the clock goes on where it stopped"


class _KillError(Exception):
    """Stands for a SIGKILL: nothing after it is done."""


def test_a_run_that_was_killed_goes_on_from_its_last_state(
    spec: Spec, trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cases T04 and T05."""
    straight = trainer(spec(), folder=tmp_path / "straight")
    expected = straight.run(1e9, never)
    killed = trainer(spec())
    real = killed.batches.step

    def step(number: int) -> tuple[torch.Tensor, torch.Tensor]:
        if number == 30:
            raise _KillError
        return real(number)

    monkeypatch.setattr(killed.batches, "step", step)
    with pytest.raises(_KillError):
        killed.run(0, never)
    found = sorted(path.name for path in (tmp_path / "state").iterdir())
    assert found == ["000000029.state", "000000030.state"], "two states are kept"
    (tmp_path / "state" / "000000030.state").write_bytes(b"")  # half-written, say
    notes: list[str] = []
    last = trainer(spec(), notes=notes)
    outcome = last.run(1e9, never)
    assert outcome.resumed_from == [29]
    assert any("000000030.state: damaged" in note for note in notes)
    assert torch.equal(weights(last), weights(straight))
    assert same(outcome, expected)


@pytest.mark.parametrize("damage", ["empty", "cut", "a flipped byte"])
def test_a_damaged_state_is_passed_over_with_a_note(tmp_path: Path, damage: str) -> None:
    """Case T05: a state of step 20 that is not whole beside one of step 10 that is."""
    for step in (10, 20):
        state.save(tmp_path, step, {"identity": "one", "values": torch.arange(50.0)})
    newest = tmp_path / "000000020.state"
    content = newest.read_bytes()
    flipped = bytes([*content[:200], content[200] ^ 1, *content[201:]])
    newest.write_bytes({"empty": b"", "cut": content[:-7], "a flipped byte": flipped}[damage])
    found, notes = state.load_newest(tmp_path, "one")
    assert found is not None
    assert found["step"] == 10
    assert torch.equal(found["values"], torch.arange(50.0))
    assert notes == [f"{newest}: damaged (checksum differs), passed over"]


def test_a_state_of_other_settings_is_passed_over_with_a_note(tmp_path: Path) -> None:
    assert state.load_newest(tmp_path, "one") == (None, [])
    state.save(tmp_path, 10, {"identity": "one"})
    found, notes = state.load_newest(tmp_path, "two")
    assert found is None
    assert "made by other settings, data or code" in notes[0]


def test_old_states_are_dropped_and_all_of_them_when_a_run_has_ended(tmp_path: Path) -> None:
    for step in (5, 10, 1000):
        size = state.save(tmp_path, step, {"identity": "one"})
    assert size == (tmp_path / "000001000.state").stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "000000010.state",
        "000001000.state",
    ]
    state.remove(tmp_path)
    state.remove(tmp_path)
    assert not tmp_path.exists()


def test_a_rate_that_is_too_high_ends_as_diverged(spec: Spec, trainer: Make) -> None:
    """Case T01."""
    outcome = trainer(spec(lr=10.0)).run(1e9, never)
    assert outcome.status == "diverged"
    assert outcome.reason is not None
    assert outcome.reason.startswith(f"step {outcome.steps}: loss ")
    assert outcome.steps < 60
    json.dumps(outcome.records, allow_nan=False)


def test_a_rate_that_is_too_low_is_no_divergence(spec: Spec, trainer: Make) -> None:
    outcome = trainer(spec(steps=300, batch_tokens=16, lr=1e-6)).run(1e9, never)
    assert outcome.status == "ok"
    losses = [line["loss_nats"] for line in outcome.records]
    assert max(losses[3:]) > losses[0], "by chance alone"


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_the_first_number_that_is_not_finite_ends_the_run(
    spec: Spec, trainer: Make, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Case T01: the weights are those of the last good step."""
    one = trainer(spec())
    real = one.stepper._accumulate

    def spoiled(inputs: torch.Tensor, targets: torch.Tensor, factor: float) -> float:
        total = real(inputs, targets, factor)
        if one.done == 12 and what == "gradient":
            one.optimizer.gradients[3] = math.inf
        return math.nan if one.done == 12 and what == "loss" else total

    monkeypatch.setattr(one.stepper, "_accumulate", spoiled)
    outcome = one.run(1e9, never)
    assert outcome.status == "diverged"
    assert outcome.reason == f"step 13: the {what} is not finite"
    assert outcome.steps == len(outcome.records) == 12
    assert weights(one).isfinite().all()


def scarce(one: Trainer, room: int) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """A model that has no memory for more than `room` sequences at once."""
    real = one.model.forward

    def forward(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss = real(inputs, targets)
        if len(inputs) > room:
            loss.backward()  # what was summed up before memory ran out must not count
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return loss

    return forward


def test_out_of_memory_halves_the_batch_and_goes_on(
    spec: Spec, trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plenty = trainer(spec(steps=10), folder=tmp_path / "plenty")
    plenty.stepper.micro = 1
    expected = plenty.run(1e9, never)
    notes: list[str] = []
    one = trainer(spec(steps=10), notes=notes)
    assert one.stepper.micro == 4
    monkeypatch.setattr(one.model, "forward", scarce(one, room=1))
    outcome = one.run(1e9, never)
    assert outcome.status == "ok"
    assert [note.split(", ")[1] for note in notes if "memory" in note] == [
        "2 sequences at once from now",
        "1 sequences at once from now",
    ]
    assert same(outcome, expected)


def test_no_memory_for_one_sequence_ends_as_oom(
    spec: Spec, trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trainer(spec())
    monkeypatch.setattr(one.model, "forward", scarce(one, room=0))
    outcome = one.run(1e9, never)
    assert (outcome.status, outcome.steps, outcome.records) == ("oom", 0, [])
    assert outcome.reason is not None
    assert outcome.reason.startswith("step 1: CUDA out of memory")


def test_a_model_that_gets_no_gradient_is_refused(
    spec: Spec, trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As compiled by a version of torch that loses it: such a run would have ended as ok."""
    monkeypatch.setattr(
        HeadLoss,
        "backward",
        staticmethod(lambda ctx, grad: (*(x * 0 for x in ctx.saved_tensors), None, None)),
    )
    with pytest.raises(UserError, match=r"the gradient is zero at a loss of 5\.\d+ nats"):
        trainer(spec()).run(1e9, lambda: False)


def test_another_error_is_not_taken_for_memory(
    spec: Spec, trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trainer(spec())

    def forward(*_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(one.model, "forward", forward)
    with pytest.raises(RuntimeError, match="shapes"):
        one.run(1e9, never)


def test_equal_specifications_give_equal_runs_and_seeds_differ(
    spec: Spec, trainer: Make, tmp_path: Path
) -> None:
    runs = [trainer(spec(steps=10), folder=tmp_path / str(number)) for number in range(2)]
    first, second = (one.run(1e9, never) for one in runs)
    assert same(first, second)
    other = trainer({**spec(steps=10), "seed": 9}, folder=tmp_path / "other")
    assert not same(first, other.run(1e9, never))
    wide = spec(steps=10)
    wide["model"] = {**wide["model"], "width": 16}
    width = trainer(wide, folder=tmp_path / "wide")
    assert torch.equal(width.batches.step(3)[0], runs[0].batches.step(3)[0])
