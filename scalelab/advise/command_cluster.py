"""`scalelab plan --cluster`: a ladder on accelerators, as tables or as JSON."""

import argparse
import math
from dataclasses import asdict
from typing import Any

from scalelab import config
from scalelab.advise.budget import number
from scalelab.advise.cluster import Cluster, Job, Row, jobs, row, shard_bytes
from scalelab.advise.propose import reaching
from scalelab.advise.study_file import study
from scalelab.errors import UserError
from scalelab.files import write_json
from scalelab.logs import json_argument
from scalelab.plan.gpus import GPUS, find
from scalelab.plan.recipe import specification
from scalelab.plan.runs import build

GIB, GB = 2**30, 1e9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `scalelab plan --cluster`."""
    group = parser.add_argument_group("a ladder on a cluster of accelerators")
    group.add_argument(
        "--cluster", action="store_true", help="memory, layout, GPU hours, storage and cost by size"
    )
    group.add_argument("--up-to", metavar="N", help="a ladder to N parameters, not a STUDY.yaml")
    group.add_argument("--gpu", default="h100", help=f"{', '.join(GPUS)}, or a name of your own")
    group.add_argument(
        "--gpu-memory-gib", metavar="GIB", help="memory of another GPU, in 2^30 bytes"
    )
    group.add_argument("--gpu-tflops", metavar="T", help="its dense bf16 rate, in 1e12 FLOP/s")
    group.add_argument("--gpus-per-node", type=int, default=8, help="(default: 8)")
    group.add_argument("--rate", metavar="DOLLARS", help="what an hour of one GPU costs")
    group.add_argument("--mfu", default="0.4", help="share of the GPU's rate (default: 0.4)")
    group.add_argument("--days", default="30", help="a run may take so long (default: 30)")


def run(args: argparse.Namespace) -> int:
    """Print the tables, or write them as JSON."""
    if (args.study is None) == (args.up_to is None):
        raise UserError("--cluster: expected a study file, or --up-to N for a ladder without one")
    cluster = _cluster(args)
    found = _jobs(args)
    rows = [row(job, cluster) for job in found]
    if args.json:
        write_json(args.json, as_json(rows, cluster))
    else:
        print(as_text(rows, cluster))
    return 0


def _cluster(args: argparse.Namespace) -> Cluster:
    memory, rate = (
        None if text is None else number(text, flag)
        for text, flag in (
            (args.gpu_memory_gib, "--gpu-memory-gib"),
            (args.gpu_tflops, "--gpu-tflops"),
        )
    )
    mfu = number(args.mfu, "--mfu")
    if mfu > 1:
        raise UserError(f"--mfu {args.mfu}: expected a share, at most 1")
    if args.gpus_per_node < 1:
        raise UserError(f"--gpus-per-node {args.gpus_per_node}: expected 1 or more")
    return Cluster(
        gpu=find(args.gpu, memory, rate),
        gpus_per_node=args.gpus_per_node,
        mfu=mfu,
        days=number(args.days, "--days"),
        rate=None if args.rate is None else number(args.rate, "--rate"),
    )


def _jobs(args: argparse.Namespace) -> list[Job]:
    """Those of the study, or of a ladder with the rules for batches that a proposal has."""
    if args.study is not None:
        overrides = json_argument(args.set) if args.set else None
        return jobs(one.spec for one in build(config.load(args.study, overrides)).runs)
    proposal = reaching(number(args.up_to, "--up-to"), args.sizes)
    parsed = config.parse(study(proposal, "ladder"))
    # What the text is does not matter here, so it need not be there.
    specs = (specification(parsed, one.shape, one.counts, 1, "") for one in proposal.sizes)
    return jobs(specs)


def as_text(rows: list[Row], cluster: Cluster) -> str:
    """Two tables and what is assumed."""
    gpu = cluster.gpu
    lines = [
        f"{gpu.name}: {gpu.memory_gib:.1f} GiB ({gpu.memory_bytes / GB:.0f} GB), "
        f"{gpu.flops_per_second / 1e12:,.0f} TFLOP/s dense bf16 ({gpu.source}); "
        f"{cluster.gpus_per_node} a node",
        "",
        "memory of one GPU in GiB (2^30 bytes), and of the host's for a run's first process",
        f"{'N':>10}{'D':>10}{'parameters':>12}{'gradients':>11}{'optimiser':>11}"
        f"{'activations':>13}{'in all':>9}{'host':>8}  layout",
    ]
    lines += [_memory_line(one) for one in rows]
    lines += [
        "",
        "time, storage (GB are 10^9 bytes) and cost of one run",
        f"{'N':>10}{'runs':>6}{'batch':>12}{'GPUs':>7}{'nodes':>7}{'C (FLOPs)':>11}"
        f"{'GPU hours':>12}{'days':>9}{'checkpoint GB':>15}{'states GB':>11}{'dollars':>12}",
    ]
    lines += [_time_line(one, cluster) for one in rows]
    return "\n".join([*lines, "", *_totals(rows, cluster), *_assumed(rows, cluster)])


def _memory_line(one: Row) -> str:
    job, layout = one.job, one.layout
    start = f"{job.counts.n:>10.3g}{job.tokens:>10.3g}"
    if layout is None:
        return f"{start}  does not fit"
    memory = layout.memory
    parts = (memory.parameters, memory.gradients, memory.optimizer, memory.activations)
    cells = zip((*parts, memory.peak, memory.host), (12, 11, 11, 13, 9, 8), strict=True)
    return (
        start
        + "".join(f"{_sized(part / GIB):>{width}}" for part, width in cells)
        + f"  {layout.name}, {layout.micro} x {job.shape.context} tokens a pass"
    )


def _time_line(one: Row, cluster: Cluster) -> str:
    job, layout = one.job, one.layout
    start = f"{job.counts.n:>10.3g}{job.runs:>6}{job.batch_tokens:>12,}"
    if layout is None:
        return f"{start}{'-':>7}{'-':>7}{job.flops:>11.2e}"
    nodes = math.ceil(layout.gpus / cluster.gpus_per_node)
    dollars = "-" if cluster.rate is None else f"{one.gpu_hours * cluster.rate:,.2f}"
    return (
        f"{start}{layout.gpus:>7,}{nodes:>7,}{job.flops:>11.2e}{_sized(one.gpu_hours):>12}"
        f"{_sized(one.days):>9}{_sized(one.checkpoint_bytes / GB):>15}"
        f"{_sized(one.states_bytes / GB):>11}{dollars:>12}"
    )


def _sized(value: float) -> str:
    """Three digits of a small number, whole ones of a large one."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value >= 0.001 else "<0.001"


def total(rows: list[Row], cluster: Cluster) -> dict[str, float | None]:
    """Of all runs that fit: GPU hours, dollars, and bytes that stay when all have ended."""
    hours = sum(one.gpu_hours * one.job.runs for one in rows if one.layout is not None)
    kept = sum((one.checkpoint_bytes + one.records_bytes) * one.job.runs for one in rows)
    return {
        "gpu_hours": hours,
        "dollars": None if cluster.rate is None else hours * cluster.rate,
        "results_bytes": kept,
        "states_bytes_of_largest": max(one.states_bytes for one in rows),
        "corpus_bytes": shard_bytes(one.job for one in rows),
    }


def _totals(rows: list[Row], cluster: Cluster) -> list[str]:
    found = total(rows, cluster)
    cost = "" if found["dollars"] is None else f", {found['dollars']:,.2f} dollars"
    return [
        f"all {sum(one.job.runs for one in rows)} runs: {_sized(found['gpu_hours'] or 0)} GPU hours"
        f"{cost}; {_sized((found['results_bytes'] or 0) / GB)} GB of checkpoints and records, "
        f"{_sized((found['corpus_bytes'] or 0) / GB)} GB of token shards, and up to "
        f"{_sized((found['states_bytes_of_largest'] or 0) / GB)} GB of resume states while the "
        "largest run goes on"
    ]


def _assumed(rows: list[Row], cluster: Cluster) -> list[str]:
    lines = [
        f"assumed, not measured: {cluster.mfu:.0%} of the GPU's rate (--mfu; run.json has what a "
        "run reached)"
    ]
    if any(one.job.precision in ("fp32", "tf32") for one in rows):
        lines.append("the rate is that of bf16, but training.precision asks for fp32: it is slower")
    if others := sorted({one.job.shape.family for one in rows} - {"gpt2"}):
        lines.append(
            f"activations are those of GPT-2's block, also for {', '.join(others)}, where they "
            "have not been counted"
        )
    return [*lines, *(f"note: {note}" for one in rows for note in one.notes)]


def as_json(rows: list[Row], cluster: Cluster) -> dict[str, Any]:
    """The same numbers; units stand in the names."""
    return {
        "cluster": asdict(cluster),
        "rows": [_plain(one, cluster) for one in rows],
        "total": total(rows, cluster),
        "notes": _assumed(rows, cluster),
    }


def _plain(one: Row, cluster: Cluster) -> dict[str, Any]:
    job, layout = one.job, one.layout
    found: dict[str, Any] = {
        "N": job.counts.n,
        "N_total": job.counts.n_total,
        "D": job.tokens,
        "C": job.flops,
        "model": asdict(job.shape),
        "batch_tokens": job.batch_tokens,
        "runs": job.runs,
        "checkpoint_bytes": one.checkpoint_bytes,
        "states_bytes": one.states_bytes,
        "records_bytes": one.records_bytes,
        "fits": layout is not None,
        "notes": list(one.notes),
    }
    if layout is not None:
        memory = layout.memory
        found |= {
            "layout": {
                "sharding": layout.sharded,
                "checkpoint_activations": layout.recomputed,
                "gpus": layout.gpus,
                "nodes": math.ceil(layout.gpus / cluster.gpus_per_node),
                "micro_sequences": layout.micro,
            },
            "memory_bytes": {
                **{key: value for key, value in asdict(memory).items() if key != "device"},
                "peak": memory.peak,
                "host": memory.host,
            },
            "gpu_hours": one.gpu_hours,
            "days": one.days,
            "dollars": None if cluster.rate is None else one.gpu_hours * cluster.rate,
        }
    return found
