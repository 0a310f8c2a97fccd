"""A server that speaks S3 on this machine, and a way to it that breaks."""

import contextlib
import shutil
import socket
import subprocess
import sysconfig
import threading
import time
from collections.abc import Iterator
from pathlib import Path

RCLONE = shutil.which("rclone", path=sysconfig.get_path("scripts")) or shutil.which("rclone")
KEY, SECRET = "a-key", "a-secret-that-no-file-may-hold"


@contextlib.contextmanager
def s3_server(folder: Path, *options: str) -> Iterator[str]:
    """The address of a server whose buckets are the subfolders of `folder`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(RCLONE), "serve", "s3", "--addr", f"127.0.0.1:{port}", *options]
    command += ["--auth-key", f"{KEY},{SECRET}", "--config", "", str(folder)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as running:
        try:
            deadline = time.monotonic() + 60
            while not _answers(port):
                assert running.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            running.terminate()


def credentials(address: str) -> dict[str, str]:
    """The environment that leads to the server."""
    return {
        **{"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET},
        **{"AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": address},
    }


@contextlib.contextmanager
def broken_way(address: str, word: bytes) -> Iterator[str]:
    """An address that leads to the server, but hangs up in the middle of uploads named so."""
    port = int(address.rpartition(":")[2])
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client = listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", port))
                for way in ((client, server, word), (server, client, None)):
                    threading.Thread(target=_pump, args=way, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


def _pump(source: socket.socket, target: socket.socket, word: bytes | None) -> None:
    """Pass bytes on; of an upload whose first line holds `word` the head and some of the body."""
    left = None
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            if word and data.startswith((b"PUT ", b"POST ")) and word in data.split(b"\r\n")[0]:
                left = data.find(b"\r\n\r\n") + 4 + 100
            if left is not None:
                data, left = data[:left], left - len(data)
            target.sendall(data)
            if left is not None and left <= 0:
                break
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
