"""A page on this machine that shows a study while it runs. It only reads, and only answers here."""

import json
import secrets
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from scalelab.errors import UserError
from scalelab.live.status import as_json
from scalelab.live.study import read

ADDRESS = "127.0.0.1"
PAGE = Path(__file__).parent / "page.html"


class Server(ThreadingHTTPServer):
    """One study on a port of this machine. once: whether it ends after its first status."""

    daemon_threads = True
    timeout = 0.5  # of a wait for a request, after which `once` is looked at

    def __init__(self, study: Path, port: int, once: bool = False) -> None:
        self.study, self.once = study, once
        self.served = False
        try:
            super().__init__((ADDRESS, port), Handler)
        except (OSError, OverflowError) as error:
            raise UserError(
                f"--port {port}: cannot be opened ({error}); 0 takes a free one"
            ) from None

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def serve(self) -> None:
        """Answer until Ctrl-C, or until the first status where that is asked for."""
        try:
            while not (self.once and self.served):
                self.handle_request()
        except KeyboardInterrupt:
            pass
        finally:
            self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that has gone is no news."""


class Handler(BaseHTTPRequestHandler):
    """The page, and the status as JSON; nothing else, and nothing but GET."""

    server: Server
    timeout = 10.0
    server_version, sys_version = "scalelab", ""

    def do_GET(self) -> None:
        """Answer, where the question was for this machine."""
        # A page elsewhere whose name was pointed at 127.0.0.1 comes with that name as its host.
        port = self.server.server_port
        if self.headers.get("Host") not in {f"{name}:{port}" for name in (ADDRESS, "localhost")}:
            return self._refuse(403, "this page is for this machine only")
        path = self.path.partition("?")[0]
        answers: dict[str, Callable[[], None]] = {"/": self._page, "/status.json": self._status}
        if path not in answers:
            return self._refuse(404, "no such page")
        return answers[path]()

    def _page(self) -> None:
        nonce = secrets.token_urlsafe(16)
        text = PAGE.read_text(encoding="utf-8").replace("@NONCE@", nonce)
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
            "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        self._send(200, "text/html; charset=utf-8", text, {"Content-Security-Policy": policy})

    def _status(self) -> None:
        try:
            content, code = as_json(read(self.server.study)), 200
        except UserError as error:  # a file that is being replaced, a folder that was removed
            content, code = {"error": str(error)}, 503
        self._send(code, "application/json", json.dumps(content))
        self.server.served = True

    def _refuse(self, code: int, why: str) -> None:
        self._send(code, "text/plain; charset=utf-8", why + "\n")

    def _send(self, code: int, kind: str, text: str, more: dict[str, str] | None = None) -> None:
        body = text.encode()
        self.send_response(code)
        fields = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            **(more or {}),
        }
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _only_get(self) -> None:
        self.close_connection = True
        self._send(405, "text/plain; charset=utf-8", "GET only\n", {"Allow": "GET"})

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _only_get

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not told."""
