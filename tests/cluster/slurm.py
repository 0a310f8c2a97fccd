"""A real SLURM of two nodes on this machine: munge, slurmctld and two slurmd, while it is needed.

The commands of SLURM that jobs call inside jobs find it by /etc/slurm/slurm.conf alone, so there
can be one at a time, and none beside a cluster's own.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

CONFIG = Path("/etc/slurm/slurm.conf")
MARK = "# written by the tests of scalelab"
LOCK = Path(tempfile.gettempdir(), "scalelab-slurm-tests.lock")
NODES = ("first", "second")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
PATIENCE = 60  # seconds until a daemon that does not come up is given up


def why_not() -> str | None:
    """Why SLURM cannot be started here; None where it can."""
    missing = [name for name in PROGRAMS if _program(name) is None]
    if missing:
        return f"no SLURM here: {', '.join(missing)} not found (Debian: slurm-wlm, munge)"
    if os.geteuid() != 0:
        return "SLURM needs root to start jobs"
    if CONFIG.exists() and not _ours():
        return f"{CONFIG} is of a cluster, not of these tests"
    return None


@dataclass
class Slurm:
    """Daemons at work, and the folder of what they write."""

    folder: Path
    daemons: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def call(self, *words: str) -> str:
        """What a command of SLURM prints."""
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, f"{words}: {done.stderr}{self.logs()}"
        return done.stdout

    def jobs(self, states: str = "all") -> dict[str, str]:
        """State of each job, by its number."""
        rows = self.call("squeue", "--noheader", f"--states={states}", "--format=%i|%T")
        return dict(line.split("|") for line in rows.splitlines())

    def of_job(self, job: str) -> dict[str, str]:
        """What SLURM says of a job."""
        words = self.call("scontrol", "show", "job", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def logs(self) -> str:
        """The ends of the daemons' logs."""
        texts = [(path, path.read_text(errors="replace")) for path in self.folder.glob("*.log")]
        return "".join(f"\n--- {path.name}\n{text[-2000:]}" for path, text in texts)


@contextlib.contextmanager
def started() -> Iterator[Slurm]:
    """SLURM while the block runs; another process that wants it waits."""
    with FileLock(LOCK):
        # Not below pytest's folder: the path of a socket must be shorter than 108 bytes.
        slurm = Slurm(Path(tempfile.mkdtemp(prefix="slurm-")))
        try:
            _start(slurm)
            yield slurm
        finally:
            _stop(slurm)


def _start(slurm: Slurm) -> None:
    folder = slurm.folder
    folder.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    munge = ["--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"]
    munge += [f"--pid-file={folder}/munge.pid", f"--log-file={folder}/munge.log"]
    munge += [f"--seed-file={folder}/munge.seed"]
    _daemon(slurm, "munged", *munge)
    _wait(slurm, lambda: (folder / "munge.socket").exists())
    CONFIG.parent.mkdir(exist_ok=True)
    assert not CONFIG.exists() or _ours()
    CONFIG.write_text(_config(folder), encoding="utf-8")
    for name in ("control", *NODES):
        (folder / name).mkdir()
    _daemon(slurm, "slurmctld", "-D", "-c")
    for name in NODES:
        _daemon(slurm, "slurmd", "-D", "-N", name)
    _wait(slurm, lambda: _idle() == len(NODES))


def _stop(slurm: Slurm) -> None:
    """End jobs first, then what was started, the newest first; the folder goes too."""
    with contextlib.suppress(OSError, subprocess.SubprocessError, AssertionError):
        slurm.call("scancel", "--signal=KILL", "--full", f"--user={_user()}")
        slurm.call("scancel", f"--user={_user()}")
        deadline = time.monotonic() + PATIENCE
        while slurm.jobs("pending,running,completing") and time.monotonic() < deadline:
            time.sleep(0.2)
    for daemon in reversed(slurm.daemons):
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(timeout=15)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
    if _ours():
        CONFIG.unlink()
    shutil.rmtree(slurm.folder, ignore_errors=True)


def _daemon(slurm: Slurm, name: str, *words: str) -> None:
    program = _program(name)
    assert program is not None
    number = len(slurm.daemons)
    with open(slurm.folder / f"{number}-{name}.log", "wb") as log:
        slurm.daemons.append(
            subprocess.Popen(
                [program, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Jobs are started by them: they see what the daemons saw.
                env={"PATH": os.environ.get("PATH", os.defpath), "HOME": os.environ["HOME"]},
            )
        )


def _wait(slurm: Slurm, ready: "object") -> None:
    assert callable(ready)
    deadline = time.monotonic() + PATIENCE
    while not ready():
        ended = [daemon.args for daemon in slurm.daemons if daemon.poll() is not None]
        assert not ended and time.monotonic() < deadline, f"{ended}{slurm.logs()}"
        time.sleep(0.1)


def _idle() -> int:
    done = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--partition=main", "--format=%T"],
        capture_output=True,
        text=True,
    )
    return done.stdout.split().count("idle")


def _config(folder: Path) -> str:
    host, ports = socket.gethostname(), _free_ports(1 + len(NODES))
    memory = int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 0.9 / 2**20)
    nodes = "\n".join(
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 "
        f"RealMemory={memory} State=UNKNOWN"
        for name, port in zip(NODES, ports[1:], strict=True)
    )
    return f"""{MARK}
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={_user()}
SlurmdUser={_user()}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/control
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/control.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1,defer_batch
JobRequeue=1
ReturnToService=0
KillWait=30
MinJobAge=7200
{nodes}
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=2 PreemptMode=OFF
"""


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def _ours() -> bool:
    try:
        return CONFIG.read_text(encoding="utf-8").startswith(MARK)
    except OSError:
        return False


def _user() -> str:
    return "root"
