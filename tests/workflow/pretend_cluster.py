"""Snakemake with the Kubernetes executor, and this machine in the place of the cluster.

Called as `pretend_cluster.py FOLDER snakemake-words...`. Only the calls of the API are replaced:
what is sent to the cluster is kept in FOLDER as JSON, and the command of a pod is run in an empty
folder, with no more of the environment than its manifest and its image would give it.
"""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kubernetes
from snakemake.cli import main

FOLDER = Path(sys.argv[1])
IMAGE = ("PATH", "PYTHONPATH", "HOME", "XDG_CACHE_HOME", "OMP_NUM_THREADS")
SECRETS: dict[str, dict[str, str]] = {}
PODS: dict[str, "subprocess.Popen[bytes]"] = {}


def keep(kind: str, body: Any) -> dict[str, Any]:
    """Write what would be sent, as it would be sent."""
    content = kubernetes.client.ApiClient().sanitize_for_serialization(body)
    (FOLDER / f"{kind}-{content['metadata']['name']}.json").write_text(json.dumps(content))
    return dict(content)


def create_secret(self: Any, namespace: str, body: Any) -> None:
    content = keep("secret", body)
    SECRETS[content["metadata"]["name"]] = content["data"]


def create_job(self: Any, namespace: str, body: Any) -> None:
    content = keep("job", body)
    name = content["metadata"]["name"]
    container = content["spec"]["template"]["spec"]["containers"][0]
    environment = {name: os.environ[name] for name in IMAGE if name in os.environ}
    for entry in container["env"]:
        told = entry["valueFrom"]["secretKeyRef"]
        value = base64.b64decode(SECRETS[told["name"]][told["key"]]).decode()
        environment[entry["name"]] = value
    place = FOLDER / name
    place.mkdir()
    with open(FOLDER / f"{name}.log", "wb") as log:
        PODS[name] = subprocess.Popen(
            [*container["command"], *container["args"]],
            cwd=place,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def job_status(self: Any, name: str, namespace: str) -> Any:
    code = PODS[name].poll()
    ended = {"succeeded": int(code == 0), "failed": int(code not in (None, 0))}
    return SimpleNamespace(status=SimpleNamespace(**ended))


def nothing(*_: Any, **__: Any) -> Any:
    return SimpleNamespace(items=[])


kubernetes.config.load_kube_config = nothing
kubernetes.client.CoreV1Api.create_namespaced_secret = create_secret
kubernetes.client.CoreV1Api.delete_namespaced_secret = nothing
kubernetes.client.CoreV1Api.list_namespaced_pod = nothing
kubernetes.client.BatchV1Api.create_namespaced_job = create_job
kubernetes.client.BatchV1Api.delete_namespaced_job = nothing
kubernetes.client.BatchV1Api.read_namespaced_job_status = job_status

main(sys.argv[2:])
