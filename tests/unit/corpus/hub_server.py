"""A server on this machine that answers as the Hugging Face hub does, for one dataset."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

NAME = "lab/tales"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FAULT = "/test/fault/"
"""`FAULT` and a file: from now on its connection ends half-way; `FAULT` alone: none does."""


class Hub(ThreadingHTTPServer):
    """Serves `folder` as the dataset NAME, whose branch main is COMMIT."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.folder, self.fault = folder, ""


class Answer(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith(FAULT):
            self.server.fault = path.removeprefix(FAULT)
            self.send(200, b"")
        elif found := re.fullmatch(rf"/datasets/{NAME}/resolve/(\w+)/(.+)", path):
            self.file(found[1], found[2])
        elif found := re.fullmatch(rf"/api/datasets/{NAME}/(revision|tree)/(\w+)/?(.*)", path):
            if found[2] not in ("main", COMMIT):
                self.refuse("RevisionNotFound")
            else:
                self.json(self.info() if found[1] == "revision" else self.tree(found[3]))
        else:
            self.refuse("RepoNotFound")

    do_HEAD = do_GET

    def info(self) -> dict[str, Any]:
        files = [one["path"] for one in self.tree("") if one["type"] == "file"]
        return {"id": NAME, "sha": COMMIT, "siblings": [{"rfilename": one} for one in files]}

    def tree(self, under: str) -> list[dict[str, Any]]:
        root = self.server.folder
        return [
            {
                "type": "file" if path.is_file() else "directory",
                "path": path.relative_to(root).as_posix(),
                "size": path.stat().st_size,
                "oid": hashlib.sha1(path.as_posix().encode()).hexdigest(),
            }
            for path in sorted((root / under).rglob("*"))
        ]

    def file(self, revision: str, name: str) -> None:
        path = self.server.folder / name
        if revision != COMMIT or not path.is_file():
            self.refuse("EntryNotFound")
            return
        data = path.read_bytes()
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
        status, size = 200, len(data)
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            first, last = int(asked[1]), min(int(asked[2] or size), size - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
            data, status = data[first : last + 1], 206
        self.send(status, data, headers, broken=name == self.server.fault)

    def json(self, value: Any) -> None:
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def refuse(self, code: str) -> None:
        self.send(404, b"", {"X-Error-Code": code})

    def send(
        self, status: int, data: bytes, headers: dict[str, str] | None = None, broken: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if broken else data)
        if broken:
            self.close_connection = True


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a hub that serves `folder`."""
    hub = Hub(folder)
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{hub.server_port}"
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
