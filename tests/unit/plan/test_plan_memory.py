"""Memory of a training process: sums done by hand, published formulas, and real processes."""

import json
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from test_plan_runs import plan

from scalelab.errors import UserError
from scalelab.plan.families import Shape, count
from scalelab.plan.gpus import GPUS, find
from scalelab.plan.memory import ACCOUNTANT, INTERPRETER, of_process, of_run
from scalelab.plan.passes import Pass, held

GPT3 = Shape("gpt2", depth=96, width=12_288, heads=96, context=2048, vocab=51_200)
ON_GPU = Pass(1, width=2, by_hand=False, device="cuda")
SMALL = Shape("gpt2", depth=3, width=64, heads=2, context=128, vocab=512)
ROOT = Path(__file__).resolve().parents[3]


def test_a_layer_keeps_what_korthikanti_counts_without_dropout_and_with_a_wide_stream() -> None:
    """Korthikanti et al. 2022, section 4.1: 34 s b h bytes a layer and 5 a s^2 b of attention. Less
    3 s b h of dropout's masks and random bytes (one of attention's output, one of the MLP's, and
    the 16-bit output that is masked is not kept), and 4 s b h more for an fp32 residual stream."""
    token_width = GPT3.context * GPT3.width
    one, two = (held(replace(GPT3, depth=depth), ON_GPU).kept for depth in (1, 2))
    # 14 products of 2 bytes, two streams of 4; norms, sums of attention and copies of weights.
    small = GPT3.context * (16 + 4 * GPT3.heads) + 2 * 12 * GPT3.width**2
    assert two - one == 36 * token_width + small


def test_by_hand_the_weights_of_attention_are_kept_as_well() -> None:
    by_hand, by_torch = Pass(4, 4, by_hand=True), Pass(4, 4, by_hand=False)
    scores = 4 * 4 * SMALL.heads * SMALL.context**2
    sums = 4 * 4 * SMALL.heads * SMALL.context
    assert held(SMALL, by_hand).kept - held(SMALL, by_torch).kept == 3 * (scores - sums)


def test_checkpointing_keeps_the_inputs_of_blocks() -> None:
    """Full recomputation: 2 s b h a layer there (16 bits), 4 s b h of an fp32 stream here."""
    how = replace(ON_GPU, checkpointed=True)
    stream = 4 * GPT3.context * GPT3.width
    assert held(GPT3, how).kept == (GPT3.depth + 1) * stream
    assert held(GPT3, how).peak > held(replace(GPT3, depth=1), ON_GPU).kept


def test_a_model_takes_16_bytes_a_parameter_and_a_shard_its_part() -> None:
    """Rajbhandari et al. 2019, section 3.1: 7.5B parameters take 120 GB, and table 1: 1.9 GB of
    each of 64 GPUs; what a block gathers comes on top here."""
    shape = Shape("gpt2", depth=36, width=4096, heads=32, context=1024, vocab=50_304)
    n_total = count(shape).n_total
    assert n_total == pytest.approx(7.5e9, rel=0.01)
    alone, shard = of_process(shape, ON_GPU), of_process(shape, ON_GPU, shards=64)
    assert alone.model == 16 * n_total == pytest.approx(120e9, rel=0.01)
    whole = n_total - count(shape).blocks + 2 * count(shape).blocks // 36
    assert shard.model == pytest.approx(16 * n_total / 64 + 8 * whole, abs=100)
    assert 16 * n_total / 64 == pytest.approx(1.9e9, rel=0.02)


def test_a_run_is_counted_as_it_is_planned() -> None:
    run = plan({"training.batch_tokens": 1024, "training.precision": "fp32"}).runs[0]
    found = of_run(run.spec)
    assert found.model == 16 * run.counts.n_total
    assert found.fixed == INTERPRETER
    assert (
        found.peak
        >= found.training
        == sum((found.fixed, found.model, found.activations, found.data))
    )
    two = {**run.spec, "processes": 2, "sharding": True}
    assert of_run(two).optimizer == pytest.approx(found.optimizer / 2, abs=4)
    again = {**run.spec, "training": {**run.spec["training"], "checkpoint_activations": True}}
    assert of_run(again).activations <= found.activations
    apart = {"dp": {"epsilon": 8.0, "delta": 1e-6, "clip": 1.0}, "batch_tokens": 256}
    of_each = of_run({**run.spec, "training": {**run.spec["training"], **apart}})
    assert of_each.gradients == (16 + 1) * found.gradients, "of 16 sequences, and their sum"
    assert of_each.fixed == INTERPRETER + ACCOUNTANT
    on_gpu = of_run(run.spec, "cuda")
    assert on_gpu.host == INTERPRETER + on_gpu.data + 12 * run.counts.n_total


def test_a_run_that_checkpoints_is_another_run_and_the_default_changes_no_id() -> None:
    plain, again = plan(), plan({"training.checkpoint_activations": True})
    assert all("checkpoint_activations" not in run.spec["training"] for run in plain.runs)
    assert {run.id for run in plan({"training.checkpoint_activations": False}).runs} == {
        run.id for run in plain.runs
    }
    assert not {run.id for run in plain.runs} & {run.id for run in again.runs}


@pytest.mark.parametrize("name", sorted(GPUS))
def test_every_gpu_of_the_table_is_plausible_and_has_a_source(name: str) -> None:
    gpu = find(name.upper())
    assert 20e9 < gpu.memory_bytes < 1e12 and 1e14 < gpu.flops_per_second < 1e16
    assert "data sheet" in gpu.source
    assert gpu.memory_gib == pytest.approx(gpu.memory_bytes / 1.073741824e9)


def test_another_gpu_is_described_or_refused() -> None:
    """Units: GiB are 2^30 bytes, TFLOP/s 10^12."""
    own = find("mine", 24, 100)
    assert (own.memory_bytes, own.flops_per_second) == (24 * 2**30, 1e14)
    assert find("h100", memory_gib=40).flops_per_second == GPUS["h100"].flops_per_second
    with pytest.raises(UserError, match=r"--gpu mine: expected one of .*--gpu-memory-gib"):
        find("mine", 24)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
@pytest.mark.skipif(
    tuple(map(int, (platform.libc_ver()[1] or "9.9").split("."))) >= (2, 38),
    reason="the heap of a later glibc is not measured",
)
@pytest.mark.parametrize(
    ("shape", "how", "saved"),
    [
        (SMALL, Pass(32), False),
        (Shape("gpt2", 4, 256, 4, 32, 4096), Pass(4), True),
    ],
    ids=["by hand", "with a state saved"],
)
def test_a_real_process_takes_what_is_told_within_a_tenth(
    shape: Shape, how: Pass, saved: bool
) -> None:
    """Two of the benchmark's cases; the interpreter's own share is measured too."""
    code = (
        "import json, sys, memory; from scalelab.plan.families import Shape\n"
        "from scalelab.plan.passes import Pass; case = json.loads(sys.argv[1])\n"
        "row = memory.compared(Shape(**case['shape']), Pass(**case['how']), case['saved'])\n"
        "print(json.dumps(row))"
    )
    case = json.dumps({"shape": vars(shape), "how": vars(how), "saved": saved})
    done = subprocess.run(
        [sys.executable, "-c", code, case],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks'}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout.splitlines()[-1])
    assert 0.9 < row["ratio"] < 1.1, row
