"""What a job asks of a scheduler: memory, minutes, GPUs and nodes, from the run's specification.

With room on top, since a job that asks for too little is killed; a retry asks for more. None of it
changes a result, so none of it is in a specification.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from scalelab.errors import UserError
from scalelab.plan.families import Shape, count
from scalelab.plan.memory import of_run

ENVIRONMENT = "SCALELAB_JOBS"
"""Environment variable by which a workflow tells its jobs what it was given."""

START_SECONDS = 300
"""Python, torch and the corpus, from a shared disk at its slowest. More than the minutes before its
end at which a scheduler may warn a job."""
STEP_SECONDS = 0.01
"""What a step costs however small the model is."""
ROOM = 2
"""Times the expected time that a job asks for."""
MEMORY_ROOM = 1.25
"""Times the expected memory that a job asks for."""
JOB_BYTES = 500_000_000
"""The processes of Snakemake in a job, and the largest of the other verbs beside a small model."""
FLOPS_SHARE = 1 / 3
"""FLOPs of a forward pass over those of a step."""
SMALL_MINUTES = 15
"""Runs that ask for no more than that may share a job."""


@dataclass(frozen=True)
class Cluster:
    """What a workflow was told of its machines, as Snakemake's --resources.

    Attributes:
        gpu: GPUs in use at once; 0: runs are trained on processors.
        gflops: 1e9 FLOPs a second that one thread reaches at least, or one GPU where there are any.
        minutes: longest time that a job may ask for; training goes on in the next one.
        node_processes: processes of a run on one node; more are spread over several.
    """

    gpu: int = 0
    gflops: int = 0
    minutes: int = 0
    node_processes: int = 0

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Cluster":
        """From numbers by the names of the attributes, with `job_` before all but gpu.

        Raises:
            UserError: a number is no whole number, or below 0.
        """
        found = {}
        for key in cls.__dataclass_fields__:
            name = key if key == "gpu" else f"job_{key}"
            value = given.get(name)
            if value is None:
                continue
            if not isinstance(value, int) or value < 0:
                raise UserError(f"--resources {name}: found {value!r}, expected a whole number")
            found[key] = value
        return cls(**found)

    @classmethod
    def of_environment(cls) -> "Cluster":
        """That of the workflow which has started this process."""
        return cls(**json.loads(os.environ.get(ENVIRONMENT, "{}")))

    def tell(self) -> None:
        """Write it into the environment, for the processes of the jobs."""
        os.environ[ENVIRONMENT] = json.dumps(asdict(self))

    def flops_per_second(self, threads: int, processes: int) -> float:
        """Of a run with so many threads in each process."""
        if self.gpu:
            return (self.gflops or 20_000) * 1e9 * processes
        return (self.gflops or 5) * 1e9 * threads * processes

    def gpus(self, spec: Mapping[str, Any]) -> int | None:
        """GPUs of a run: one for each process, where there are any."""
        return int(spec["processes"]) if self.gpu else None

    def threads(self, spec: Mapping[str, Any]) -> int:
        """Threads of a run on each of its nodes."""
        return int(spec["threads"] * spec["processes"] // self.nodes(spec))

    def nodes(self, spec: Mapping[str, Any]) -> int:
        """Nodes that a run is spread over.

        Raises:
            UserError: the processes do not fill the nodes evenly.
        """
        processes, most = int(spec["processes"]), self.node_processes
        if not most or processes <= most:
            return 1
        if processes % most:
            raise UserError(
                f"compute.large_processes: found {processes}, expected a multiple of the {most} "
                "processes of a node (--resources job_node_processes)"
            )
        return processes // most

    def training_minutes(self, spec: Mapping[str, Any], steps: int, attempt: int = 1) -> int:
        """Minutes that the job of so many steps of a run asks for at its nth attempt."""
        flops = count(Shape(**spec["model"])).training_flops * spec["training"]["batch_tokens"]
        speed = self.flops_per_second(spec["threads"], spec["processes"])
        return self._minutes(steps * (STEP_SECONDS + flops / speed), attempt)

    def evaluation_minutes(self, spec: Mapping[str, Any], tokens: int, attempt: int = 1) -> int:
        """Minutes that scoring so many tokens with the model of a run asks for."""
        flops = count(Shape(**spec["model"])).training_flops * tokens * FLOPS_SHARE
        return self._minutes(flops / self.flops_per_second(1, 1), attempt)

    def training_megabytes(self, spec: Mapping[str, Any], attempt: int = 1) -> int:
        """Host memory that training a run asks for at its nth attempt, in MB on each node."""
        each = of_run(spec, "cuda" if self.gpu else "cpu").host
        processes = spec["processes"] // self.nodes(spec)
        return math.ceil((JOB_BYTES + MEMORY_ROOM * processes * each) / 1e6) * attempt

    def evaluation_megabytes(self, spec: Mapping[str, Any], attempt: int = 1) -> int:
        """Host memory that scoring a run asks for, in MB: at most that of training it alone."""
        return self.training_megabytes({**spec, "processes": 1, "sharding": False}, attempt)

    def _minutes(self, seconds: float, attempt: int) -> int:
        asked = math.ceil((START_SECONDS + ROOM * seconds) / 60) * attempt
        return min(asked, self.minutes) if self.minutes else asked

    def is_small(self, spec: Mapping[str, Any], steps: int) -> bool:
        """Whether a run may share its job with others: short, on processors, of one node."""
        alone = self.gpu or self.nodes(spec) > 1
        return not alone and self.training_minutes(spec, steps) <= SMALL_MINUTES
