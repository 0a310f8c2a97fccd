"""`scalelab plan --cluster`: sums done by hand, layouts, units, and what is refused."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from test_advise_plan import STUDY

from scalelab.advise.cluster import USABLE, Cluster, Job, gpu_hours, jobs, row, shard_bytes
from scalelab.advise.propose import reaching
from scalelab.cli import main
from scalelab.errors import UserError
from scalelab.plan.families import Shape, count
from scalelab.plan.gpus import GPUS, Gpu

H100 = Cluster(GPUS["h100"])


def job(depth: int, width: int, sequences: int, tokens: float, context: int = 2048) -> Job:
    """A job of that shape."""
    shape = Shape("gpt2", depth, width, width // 64, context, 32_768)
    batch = sequences * context
    steps = round(tokens / batch)
    return Job(shape, count(shape), steps * batch, batch, steps)


def test_hours_are_flops_over_the_rate_that_is_assumed() -> None:
    """6 N D of 1e9 parameters and 2e10 tokens at 40% of 989.4 TFLOP/s are 84 hours; the exact
    FLOPs, with attention and head, are some more."""
    one = job(18, 2048, 512, 2e10)
    hours = gpu_hours(one, H100, recomputed=False)
    assert hours == pytest.approx(one.tokens * one.counts.training_flops / 3.9576e14 / 3600)
    by_six = 6 * one.counts.n * one.tokens / 3.9576e14 / 3600
    assert 1 < hours / by_six < 1.4
    again = gpu_hours(one, H100, recomputed=True)
    assert 1.25 < again / hours < 1 + 1 / 3, "a forward pass of the blocks more, not of the head"


def test_small_models_are_replicated_and_large_ones_sharded() -> None:
    small, large = row(job(12, 768, 256, 2e9), H100), row(job(48, 6144, 2048, 4e11), H100)
    assert small.layout is not None and large.layout is not None
    assert not small.layout.sharded and small.layout.gpus == 1 and small.notes == ()
    assert large.layout.sharded and large.layout.recomputed
    assert large.layout.gpus % 8 == 0
    for one in (small, large):
        assert one.layout is not None
        assert one.layout.memory.peak <= USABLE * GPUS["h100"].memory_bytes
    assert large.days <= H100.days
    assert large.days == pytest.approx(large.gpu_hours / large.layout.gpus / 24)


def test_a_short_time_takes_more_gpus_up_to_the_batch() -> None:
    one = job(18, 2048, 20, 2e10)
    slow, quick, hopeless = (row(one, Cluster(GPUS["h100"], days=days)) for days in (30, 1, 0.01))
    assert [found.layout.gpus for found in (slow, quick) if found.layout] == [1, 4]
    assert hopeless.layout is not None and hopeless.layout.gpus == 16
    assert "16 GPUs, more than --days 0.01: its batch of 20 sequences" in hopeless.notes[0]


def test_unequal_shares_are_told_with_the_batch_that_is_equal() -> None:
    found = row(job(48, 6144, 2047, 4e11), H100)
    assert found.layout is not None
    share = math.ceil(2047 / found.layout.gpus) * found.layout.gpus * 2048
    assert f"is to be {share:,} instead of {2047 * 2048:,}" in found.notes[0]


def test_what_does_not_fit_is_one_sentence() -> None:
    tiny = Cluster(Gpu("tiny", 2 * 2**30, 1e13, "given"))
    found = row(job(48, 6144, 64, 4e11), tiny)
    assert found.layout is None and len(found.notes) == 1
    assert "does not fit" in found.notes[0] and "1.8 usable GiB of a tiny" in found.notes[0]


def test_storage_is_four_bytes_a_parameter_and_twelve_a_state() -> None:
    one = job(12, 768, 256, 2e9)
    found = row(one, H100)
    assert found.checkpoint_bytes == 4 * one.counts.n_total
    assert found.states_bytes == 3 * 12 * one.counts.n_total
    assert shard_bytes([one]) == 2 * one.tokens, "ids below 65,536 take two bytes"


def test_a_ladder_ends_below_what_is_asked() -> None:
    proposal = reaching(1e10, 8)
    sizes = [size.n for size in proposal.sizes]
    assert len(sizes) == 8 and sizes == sorted(sizes)
    assert 5e9 < sizes[-1] <= 1e10
    with pytest.raises(UserError, match=r"--up-to 1000 --sizes 8: expected .* 0 shapes"):
        reaching(1e3, 8)


@pytest.fixture
def study(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(STUDY, encoding="utf-8")
    return str(path)


def test_a_study_is_told_with_units(study: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", study, "--cluster", "--rate", "2", "--gpu", "a100"]) == 0
    told = capsys.readouterr().out
    assert "a100: 74.5 GiB (80 GB), 312 TFLOP/s dense bf16" in told
    assert "in GiB (2^30 bytes)" in told and "GB are 10^9 bytes" in told
    assert "assumed, not measured: 40%" in told
    assert "all 4 runs" in told


def test_a_ladder_without_a_study_is_written_as_json(tmp_path: Path) -> None:
    out = tmp_path / "cluster.json"
    words = ["plan", "--cluster", "--up-to", "1e10", "--rate", "2", "--json", str(out)]
    assert main(words) == 0
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    assert len(found["rows"]) == 8 and all(one["fits"] for one in found["rows"])
    first = found["rows"][0]
    assert first["memory_bytes"]["optimizer"] == 8 * first["N_total"]
    assert found["total"]["dollars"] == pytest.approx(2 * found["total"]["gpu_hours"])
    assert first["layout"]["sharding"] is False
    assert found["rows"][-1]["layout"]["checkpoint_activations"] is True


def test_runs_alike_are_one_row(study: str) -> None:
    from scalelab import config
    from scalelab.plan.runs import build

    plan = build(config.load(Path(study), {"ladder.seeds": 3}))
    found = jobs(run.spec for run in plan.runs)
    assert [one.runs for one in found] == [3, 3, 3, 3]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "--cluster: expected a study file, or --up-to N"),
        (["--up-to", "many"], "--up-to many: expected a positive number"),
        (["--up-to", "1e9", "--gpu", "abacus"], "--gpu abacus: expected one of"),
        (["--up-to", "1e9", "--mfu", "40"], "--mfu 40: expected a share, at most 1"),
        (["--up-to", "1e9", "--days", "0"], "--days 0: expected a positive number"),
        (["--up-to", "1e9", "--rate", "-1"], "--rate -1: expected a positive number"),
        (["--up-to", "1e9", "--gpus-per-node", "0"], "--gpus-per-node 0: expected 1 or more"),
        (["--up-to", "1e9", "--gpu-tflops", "x"], "--gpu-tflops x: expected a positive number"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "--cluster", *words]) == 2
    told = capsys.readouterr().err
    assert sentence in told and told.count("\n") == 1
