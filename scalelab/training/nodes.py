"""One run on several nodes of a SLURM job: srun starts a torchrun on each; they meet on the first.

torchrun gives each process its rank; `scalelab.training.distributed` joins them.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from scalelab.errors import UserError
from scalelab.training.launch import exit_code

SHUTDOWN_SECONDS = 600
"""How long torchrun waits for processes that save their state before it kills them."""
FIRST_PORT, PORTS = 20_000, 10_000
"""Ports of the meeting: by the number of the SLURM job, so that two jobs of a node differ."""


def on_nodes(words: Sequence[str], processes: int, nodes: int, threads: int) -> int:
    """Run `python -m scalelab WORDS` in so many processes, evenly on the nodes; the exit code.

    threads: of all processes of a node together. A signal that reaches this process goes to srun,
    which ends its step with SIGTERM to all processes.

    Raises:
        UserError: not within a job of SLURM, or the processes do not divide by the nodes.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        raise UserError(f"--nodes {nodes}: expected to be in a job of SLURM, found no SLURM_JOB_ID")
    if processes % nodes:
        raise UserError(f"--processes: found {processes}, expected a multiple of --nodes {nodes}")
    command = step(words, processes, nodes, threads, job, first_address(job))
    # The step says itself what it needs; what a step around it was given is not for it.
    kept = ("SLURM_JOB_ID", "SLURM_CONF")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_") or k in kept}
    patience = {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(SHUTDOWN_SECONDS)}
    return _watched(subprocess.Popen(command, env={**inherited, **patience}))


def step(
    words: Sequence[str], processes: int, nodes: int, threads: int, job: str, address: str
) -> list[str]:
    """The command of `on_nodes`."""
    return [
        *("srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"),
        *(f"--cpus-per-task={threads}", "--kill-on-bad-exit=1"),
        *(sys.executable, "-m", "torch.distributed.run"),
        *(f"--nnodes={nodes}", f"--nproc-per-node={processes // nodes}", "--max-restarts=0"),
        *("--rdzv-backend=c10d", f"--rdzv-id={job}"),
        f"--rdzv-endpoint={address}:{FIRST_PORT + int(job) % PORTS}",
        *("-m", "scalelab", *words),
    ]


def _watched(process: "subprocess.Popen[bytes]") -> int:
    """Wait for a process and pass signals on to it; its exit code."""

    def pass_on(number: int, _: object) -> None:
        process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return exit_code(process.wait())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def first_address(job: str) -> str:
    """Where SLURM reaches the first node of a job."""
    nodes = _told("squeue", "--noheader", f"--jobs={job}", "--format=%N")
    first = _told("scontrol", "show", "hostnames", nodes).split()[0]
    fields = _told("scontrol", "--oneliner", "show", "node", first).split()
    return next((one[9:] for one in fields if one.startswith("NodeAddr=")), first)


def _told(*words: str) -> str:
    try:
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        said = str(getattr(error, "stderr", None) or error).strip()
        raise UserError(f"`{' '.join(words)}` told nothing of the nodes: {said}") from None
