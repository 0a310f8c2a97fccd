"""What jobs ask of a scheduler, against sums done by hand."""

import math
from typing import Any

import pytest
from test_plan_runs import plan

from scalelab.errors import UserError
from scalelab.plan.demand import Cluster
from scalelab.plan.families import Shape, count

RUN = plan({"ladder.widths": [16]}).runs[0]


def spec(**changes: Any) -> dict[str, Any]:
    return {**RUN.spec, **changes}


def test_time_is_that_of_the_flops_and_of_the_steps() -> None:
    steps, batch = RUN.spec["training"]["steps"], RUN.spec["training"]["batch_tokens"]
    seconds = steps * (0.01 + RUN.counts.training_flops * batch / 1e9)
    asked = Cluster(gflops=1).training_minutes(RUN.spec, steps)
    assert asked == math.ceil((300 + 2 * seconds) / 60)
    assert Cluster(gflops=1).training_minutes(RUN.spec, steps, attempt=3) == 3 * asked


def test_no_job_asks_for_more_time_than_there_is() -> None:
    cluster = Cluster(gflops=1, minutes=90)
    assert cluster.training_minutes(RUN.spec, 10**9) == 90
    assert cluster.training_minutes(RUN.spec, 10**9, attempt=4) == 90


def test_memory_holds_weights_gradients_moments_and_what_saves_them() -> None:
    big = spec(model={**RUN.spec["model"], "width": 4096, "depth": 32, "heads": 32})
    total = count(Shape(**big["model"])).n_total
    asked = Cluster().training_megabytes(big) * 1e6
    assert total > 5e9
    assert 16 * total < asked < 1.25 * 50 * total
    assert Cluster().training_megabytes(big, attempt=2) == 2 * math.ceil(asked / 1e6)
    on_gpus = Cluster(gpu=1).training_megabytes(big) * 1e6
    assert 12 * total < on_gpus < asked, "the host holds the state that is saved"


def test_memory_is_of_the_processes_on_a_node() -> None:
    fixed, one = 500, Cluster().training_megabytes(RUN.spec)
    spread = Cluster(node_processes=4).training_megabytes(spec(processes=8))
    assert spread - fixed == pytest.approx(4 * (one - fixed), abs=20)


def test_each_process_has_a_gpu_where_there_are_any() -> None:
    assert Cluster().gpus(spec(processes=4)) is None
    assert Cluster(gpu=8).gpus(spec(processes=4)) == 4


def test_a_run_is_spread_over_as_many_nodes_as_its_processes_fill() -> None:
    cluster = Cluster(node_processes=4)
    assert [cluster.nodes(spec(processes=n)) for n in (1, 4, 8, 16)] == [1, 1, 2, 4]
    assert cluster.threads(spec(processes=16, threads=3)) == 12, "of one node"
    assert Cluster().nodes(spec(processes=16)) == 1
    with pytest.raises(
        UserError, match="found 6, expected a multiple of the 4 processes of a node"
    ):
        cluster.nodes(spec(processes=6))


def test_only_short_runs_on_processors_share_a_job() -> None:
    assert Cluster().is_small(RUN.spec, 100)
    assert not Cluster().is_small(RUN.spec, 10**9)
    assert not Cluster(gpu=1).is_small(RUN.spec, 100)
    assert not Cluster(node_processes=1).is_small(spec(processes=2), 100)


def test_what_a_workflow_was_told_reaches_its_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALELAB_JOBS", "{}")
    assert Cluster.of_environment() == Cluster()
    told = Cluster.of({"gpu": 2, "job_minutes": 60, "_cores": 4, "mem_mb": None})
    assert told == Cluster(gpu=2, minutes=60)
    told.tell()
    assert Cluster.of_environment() == told


@pytest.mark.parametrize("value", [-1, "60"])
def test_a_resource_that_is_no_number_is_one_sentence(value: Any) -> None:
    with pytest.raises(
        UserError, match=f"--resources job_minutes: found {value!r}, expected a whole"
    ):
        Cluster.of({"job_minutes": value})
