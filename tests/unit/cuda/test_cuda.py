"""On a CUDA device: every family and precision, what training can do, scoring and all measures,
each beside what the processor gives."""

import copy
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scalelab.errors import UserError
from scalelab.evaluation.measure import take
from scalelab.evaluation.run import evaluate, load_model
from scalelab.evaluation.samples import write
from scalelab.files import read_json
from scalelab.models import registry
from scalelab.plan import objectives
from scalelab.plan.families import objective
from scalelab.plan.identity import run_id
from scalelab.plan.measures import names
from scalelab.plan.memory import of_run
from scalelab.plan.trunks import common
from scalelab.training import machine
from scalelab.training.fp8 import has_fp8
from scalelab.training.loop import Interrupted, Trainer
from scalelab.training.run import train

FAMILIES = [*registry.names(), "hf:gpt_neox"]
APART = {"fp32": 0.005, "tf32": 0.01, "bf16": 0.03, "fp16": 0.03, "fp8": 0.1, "fp8_emulated": 0.1}
"""Nats that a short run may end from one in fp32 on the processor."""
HELD_OUT = {"format": 1, "split": "test", "context": 64, "stride": 64}
Spec = Callable[..., dict[str, Any]]


@pytest.fixture
def wide(spec: Spec) -> Spec:
    """A specification of two blocks of width 64, eight sequences of 64 tokens a step."""

    def make(family: str = "gpt2", steps: int = 40, **training: Any) -> dict[str, Any]:
        made = spec(steps=steps, batch_tokens=512)
        shape = {"family": family, "depth": 2, "width": 64, "context": 64}
        made["model"] |= shape
        made["training"] |= training
        return made

    return make


@pytest.fixture
def fp8_here(apart: Callable[[str, str], Any]) -> Callable[[str], None]:
    """Skip a test of fp8 where the library or the device lacks it."""

    def require(precision: str) -> None:
        apart("torchao", "fp8")
        if precision == "fp8" and not has_fp8(machine.device()):
            pytest.skip("the CUDA device has no fp8")

    return require


@pytest.fixture(scope="module")
def of_processor() -> Iterator[Callable[..., Any]]:
    """Call something with the processor in the place of the device."""
    with pytest.MonkeyPatch.context() as patch:

        def call(function: Callable[..., Any], *args: Any) -> Any:
            patch.setenv("SCALELAB_DEVICE", "cpu")
            try:
                return function(*args)
            finally:
                patch.setenv("SCALELAB_DEVICE", "cuda")

        yield call


def silent(_: str) -> None:
    pass


@pytest.mark.parametrize("precision", APART)
def test_each_precision_ends_near_the_loss_of_the_processor(
    wide: Spec,
    corpus_folder: Path,
    tmp_path: Path,
    of_processor: Callable[..., Any],
    fp8_here: Callable[[str], None],
    precision: str,
) -> None:
    if precision.startswith("fp8"):
        fp8_here(precision)
    plain = of_processor(train, wide(precision="fp32"), corpus_folder, tmp_path / "cpu", 1, silent)
    found = train(wide(precision=precision), corpus_folder, tmp_path / "run", 1, silent)
    assert found["status"] == "ok" and found["device"] == "cuda"
    assert found["precision"] == precision and not found["gradients_by_hand"]
    assert found["train_loss_nats"] == pytest.approx(plain["train_loss_nats"], abs=APART[precision])
    assert found["train_loss_nats"] < math.log(257) - 2
    assert found["peak_memory_bytes"] > 0 and found["peak_flops_per_second"] > 1e12


def test_auto_is_bf16_where_the_device_has_it(
    wide: Spec, corpus_folder: Path, tmp_path: Path
) -> None:
    found = train(wide(precision="auto"), corpus_folder, tmp_path / "run", 1, silent)
    has = torch.cuda.is_bf16_supported(including_emulation=False)
    assert found["precision"] == ("bf16" if has else "fp16")


@pytest.mark.parametrize("attention", ["stream", "documents"])
@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_trains_and_scores_as_on_the_processor(
    wide: Spec,
    corpus_folder: Path,
    tmp_path: Path,
    of_processor: Callable[..., Any],
    family: str,
    attention: str,
) -> None:
    settings = wide(family, precision="fp32", lr=0.003)
    if attention == "documents":
        if ":" in family or objective(family) is not objectives.CAUSAL:
            pytest.skip("the family has no attention within documents")
        settings["training"]["attention"] = attention
    found = train(settings, corpus_folder, tmp_path / "cuda", 1, silent)
    plain = of_processor(train, settings, corpus_folder, tmp_path / "cpu", 1, silent)
    assert found["status"] == plain["status"] == "ok" and plain["device"] == "cpu"
    # Experts are chosen: which, may turn on the last bit.
    near = 0.2 if family == "moe" else 0.02
    assert found["train_loss_nats"] == pytest.approx(plain["train_loss_nats"], abs=near)
    asked = (tmp_path / "cuda", corpus_folder, HELD_OUT)
    one = evaluate(*asked, tmp_path / "cuda.json", 1, silent)
    other = of_processor(evaluate, *asked, tmp_path / "cpu.json", 1, silent)
    assert one["loss_nats"] == pytest.approx(other["loss_nats"], rel=2e-3 if near > 0.1 else 1e-5)


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp8"])
def test_a_run_stops_and_branches_and_goes_on(
    wide: Spec, tmp_path: Path, fp8_here: Callable[[str], None], family: str, precision: str
) -> None:
    """Sums on the device have no fixed order, so losses are near, not the same."""
    if precision == "fp8":
        fp8_here(precision)
    settings = wide(family, steps=24, precision=precision)
    settings["training"]["schedule"] |= {"cooldown_steps": 8, "share_trunk": True}
    tokens = np.random.default_rng(0).integers(97, 109, size=40_000).astype(np.uint16)

    def trainer(name: str, made: dict[str, Any] = settings) -> Trainer:
        return Trainer(made, tokens, tmp_path / name, name, print, name, trunk_identity="trunk")

    straight = trainer("straight").run(1e9, lambda: False).records
    first = trainer("stopped")
    with pytest.raises(Interrupted):
        first.run(1e9, lambda: first.done >= 10)
    again = trainer("stopped").run(1e9, lambda: False)
    assert again.resumed_from == [10]
    shared = copy.deepcopy(common(settings))
    shared["training"]["steps"] = 16
    trunk = trainer("trunk", shared)
    trunk.save_trunk(tmp_path / "16.state", trunk.run(1e9, lambda: False))
    branch = trainer("branch").run(1e9, lambda: False, tmp_path / "16.state")
    for other in (again, branch):
        assert [row["loss_nats"] for row in other.records] == pytest.approx(
            [row["loss_nats"] for row in straight], abs=0.02
        )


@pytest.mark.parametrize(
    "training",
    [
        {"compile": True, "precision": "bf16"},
        {"compile": True, "precision": "fp8"},
        {"checkpoint_activations": True, "precision": "bf16"},
        {"checkpoint_activations": True, "precision": "fp8"},
        {"dp": {"epsilon": 8.0, "delta": 1e-5, "clip": 0.1}, "precision": "bf16"},
    ],
    ids=["compiled", "compiled fp8", "recomputed", "recomputed fp8", "private"],
)
def test_what_training_can_do_works_on_the_device(
    wide: Spec,
    corpus_folder: Path,
    tmp_path: Path,
    fp8_here: Callable[[str], None],
    training: dict[str, Any],
) -> None:
    if training["precision"] == "fp8":
        fp8_here("fp8")
    if "dp" in training:
        pytest.importorskip("opacus")
    found = train(wide(**training), corpus_folder, tmp_path / "run", 1, silent)
    assert found["status"] == "ok"
    plain = train(
        wide(precision=training["precision"]), corpus_folder, tmp_path / "plain", 1, silent
    )
    if "dp" not in training:
        assert found["train_loss_nats"] == pytest.approx(plain["train_loss_nats"], abs=0.05)
    else:
        assert plain["train_loss_nats"] < found["train_loss_nats"] < math.log(257) + 0.5
        assert found["privacy"]["epsilon"] <= 8


def test_a_student_learns_from_a_teacher(wide: Spec, corpus_folder: Path, tmp_path: Path) -> None:
    larger = wide(steps=40, precision="bf16")
    larger["model"]["width"] = 128
    train(larger, corpus_folder, tmp_path / "teacher", 1, silent)
    how = {"teacher": run_id(larger), "weight": 0.5, "temperature": 2.0}
    student = wide(steps=40, precision="bf16", distil=how)
    found = train(student, corpus_folder, tmp_path / "run", 1, silent, teacher=tmp_path / "teacher")
    assert found["status"] == "ok" and found["train_loss_nats"] < math.log(257) - 2


@pytest.fixture(scope="module")
def run(spec: Spec, corpus_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, trained on the processor, that measures only read."""
    made = spec(steps=70)
    made["training"]["batch_tokens"] = 512
    made["model"] |= {"depth": 2, "width": 32, "context": 64}
    folder = tmp_path_factory.mktemp("cuda") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCALELAB_DEVICE", "cpu")
        train(made, corpus_folder, folder, 1, silent)
    return folder


@pytest.mark.parametrize("measure", sorted(set(names()) - {"tasks", "canaries"}))
def test_each_measure_gives_what_it_gives_on_the_processor(
    run: Path, corpus_folder: Path, tmp_path: Path, of_processor: Callable[..., Any], measure: str
) -> None:
    settings = {"measure": measure, "split": "test", "windows": 16, "seed": 1}
    asked = (run, corpus_folder, settings)
    one = take(*asked, tmp_path / "cuda.json", 1, silent)
    other = of_processor(take, *asked, tmp_path / "cpu.json", 1, silent)
    assert one["reason"] is None and other["reason"] is None
    timed = ("second", "latency", "speed")
    compared = 0
    for name in one["estimates"].keys() & other["estimates"].keys():
        if not any(word in name for word in timed):
            compared += 1
            assert one["estimates"][name]["value"] == pytest.approx(
                other["estimates"][name]["value"], rel=0.02, abs=2e-3
            ), name
    assert compared


def test_text_is_written_on_the_device(run: Path) -> None:
    """The draws are made on the processor, so that they are those of any device."""
    written = []
    for where in ("cuda", "cpu"):
        model, _ = load_model(run, read_json(run / "run.json"), 0)
        draws = torch.Generator().manual_seed(1)
        written.append(write(model.to(where).eval(), [0, 65], 40, 64, 1.0, draws, -1))
    assert len(written[0]) == 40
    assert np.mean(np.array(written[0]) == np.array(written[1])) > 0.5


def test_memory_that_runs_out_halves_the_passes_and_then_ends_the_run(
    wide: Spec, corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case of a machine that tells more free memory than there is."""
    total = torch.cuda.get_device_properties(0).total_memory
    monkeypatch.setattr(machine, "free_memory_bytes", lambda _: 2**45)
    settings = wide(steps=12, precision="bf16")
    settings["model"] |= {"width": 256, "depth": 8, "context": 512}
    settings["training"] |= {"batch_tokens": 2**15, "lr": 0.001, "unique_tokens": 2**15}
    notes: list[str] = []
    torch.cuda.empty_cache()
    try:
        torch.cuda.set_per_process_memory_fraction(1.2e9 / total)
        halved = train(settings, corpus_folder, tmp_path / "halved", 1, notes.append)
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(1.5e8 / total)
        ended = train(settings, corpus_folder, tmp_path / "ended", 1, notes.append)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert halved["status"] == "ok" and halved["micro_sequences"] < 64
    assert any("out of memory" in note for note in notes)
    assert ended["status"] == "oom" and "memory" in ended["reason"]


def test_a_second_process_without_a_device_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOCAL_RANK", str(torch.cuda.device_count()))
    with pytest.raises(UserError, match="of this host has no CUDA device of its own"):
        machine.device()


def test_the_plan_of_memory_holds_on_the_device(
    wide: Spec, corpus_folder: Path, tmp_path: Path
) -> None:
    """What is held at once, by plan and as measured; the plan may say more, not much less."""
    for precision in ("fp32", "bf16"):
        settings = wide(steps=10, precision=precision)
        settings["model"] |= {"width": 512, "depth": 6, "heads": 8, "context": 256}
        settings["training"] |= {"batch_tokens": 2**14, "lr": 0.001, "unique_tokens": 2**15}
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        found = train(settings, corpus_folder, tmp_path / precision, 1, silent)
        told = of_run(settings, "cuda", micro=found["micro_sequences"])
        assert 0.5 < found["peak_memory_bytes"] / (told.training - told.fixed) < 1.15
