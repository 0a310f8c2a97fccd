"""Jobs as pods: what is sent to a cluster, and that its commands do the work in an empty folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from object_storage import RCLONE, SECRET, credentials, s3_server
from workflow_project import CLOUD, PATIENCE, PLUGINS, STUDY, Project, environment, has

NEEDED = ("snakemake_storage_plugin_s3", "snakemake_executor_plugin_kubernetes")
pytestmark = [
    pytest.mark.skipif(not RCLONE, reason="rclone, of the extra dev, is not installed"),
    pytest.mark.skipif(
        not all(has(name) for name in (*NEEDED, "kubernetes_validate")),
        reason="needs the extras storage and kubernetes",
    ),
]
IMAGE = "registry.example/scalelab:1"
SCHEMA = "1.31"
"""A version of Kubernetes whose schemas the manifests must fit, without a field that it lacks."""


@pytest.mark.slow
def test_a_run_in_pods(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project")
    project.write(
        # What a pod reads must be where it can see it: the texts, too, as on a volume.
        corpus={"paths": [str(project.root / "text" / "*.py")]},
        ladder={"widths": [8]},
        training={"tokens": 20_000},
    )
    sent, programs, buckets = (tmp_path / name for name in ("sent", "bin", "buckets"))
    for folder in (sent, programs, buckets / "bucket"):
        folder.mkdir(parents=True)
    # The image's own interpreter, and its pip, which finds what is there already.
    (programs / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (programs / "pip").write_text("#!/bin/sh\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    path = os.pathsep.join([str(project.root), CLOUD])
    with s3_server(buckets) as server:
        found = credentials(server)
        keys = {name: found[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        done = subprocess.run(
            [
                *(sys.executable, str(Path(__file__).with_name("pretend_cluster.py")), str(sent)),
                *("--workflow-profile", "profiles/kubernetes", "--container-image", IMAGE),
                *("--default-storage-prefix", "s3://bucket/mine"),
                *("--storage-s3-endpoint-url", server, "--configfile", STUDY),
                *("--seconds-between-status-checks", "1", "--retries", "0", "--until", "train"),
            ],
            cwd=project.root,
            env={
                **environment(),
                **keys,
                "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
                "PYTHONPATH": path,
                "HOME": str(tmp_path),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
        )
    logs = "\n".join(log.read_text() for log in sent.glob("*.log"))
    assert done.returncode == 0, done.stdout + logs
    runs = buckets / "bucket" / "mine" / "results" / "runs"
    assert len(list(runs.glob("*/checkpoint/model.safetensors"))) == 1
    assert len(list(runs.glob("*/sums.json"))) == 1

    jobs = [json.loads(path.read_text()) for path in sent.glob("job-*.json")]
    assert len(jobs) == 2, done.stdout  # corpus and train
    _validate([*jobs, *(json.loads(path.read_text()) for path in sent.glob("secret-*.json"))])
    for job in jobs:
        container = job["spec"]["template"]["spec"]["containers"][0]
        assert container["image"] == IMAGE
        asked = container["resources"]
        assert asked["requests"].keys() == asked["limits"].keys() >= {"cpu", "memory"}
        assert {entry["name"] for entry in container["env"]} >= keys.keys()
    held = [path.name for path in sent.glob("job-*") if SECRET in path.read_text()]
    assert held == [] and SECRET not in done.stdout + logs


def _validate(manifests: list[dict[str, object]]) -> None:
    """Check manifests strictly against the schemas of Kubernetes."""
    sys.path.append(str(PLUGINS))
    try:
        import kubernetes_validate
    finally:
        sys.path.remove(str(PLUGINS))
    for manifest in manifests:
        kind = "Job" if "spec" in manifest else "Secret"
        version = "batch/v1" if kind == "Job" else "v1"
        whole = {"apiVersion": version, "kind": kind, **manifest}
        kubernetes_validate.validate(whole, SCHEMA, strict=True)


def test_the_check_of_manifests_sees_a_wrong_one() -> None:
    with pytest.raises(Exception, match="backoff"):
        _validate([{"metadata": {"name": "a"}, "spec": {"template": {}, "backof_limit": 0}}])
