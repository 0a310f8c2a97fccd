"""`scalelab watch`: a page that only this machine can read, asked for by HTTP and in a browser."""

import http.client
import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_study import at_work, begin, ended, plan

from scalelab.cli import main
from scalelab.live.server import ADDRESS, Server

EVIL = "<img src=x onerror=\"document.title='caught'\">"
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """A plan whose first label is markup."""
    content = plan()
    content["runs"][1]["label"] = EVIL
    return content


@pytest.fixture
def server(tmp_path: Path, made: dict[str, Any]) -> Iterator[Server]:
    """A server of a study with a run that has ended and one at work."""
    folder = begin(tmp_path, made)
    ended(tmp_path, made, 0)
    at_work(tmp_path, made, 1)
    running = Server(folder, 0)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def ask(
    server: Server, path: str, method: str = "GET", host: str | None = None
) -> http.client.HTTPResponse:
    """A real request."""
    connection = http.client.HTTPConnection(ADDRESS, server.server_port, timeout=30)
    headers = {"Host": host} if host is not None else {}
    connection.request(method, path, headers=headers)
    return connection.getresponse()


def test_the_status_is_the_study_as_it_stands(
    server: Server, tmp_path: Path, made: dict[str, Any]
) -> None:
    answer = ask(server, "/status.json")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    told = json.loads(answer.read())
    assert told["counts"] == {"running": 1, "ok": 1, "waiting": 4}
    assert told["jobs"][0]["label"] == EVIL
    assert told["jobs"][0]["curve"][-1] == [25600, 4.5]
    ended(tmp_path, made, 2)
    assert json.loads(ask(server, "/status.json").read())["counts"]["ok"] == 2


def test_the_page_asks_nobody_else(server: Server) -> None:
    answer = ask(server, "/")
    page = answer.read().decode()
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    nonce = policy.partition("'nonce-")[2].partition("'")[0]
    assert page.count(f'nonce="{nonce}"') == 2
    assert nonce not in ask(server, "/").read().decode(), "another one each time"
    assert "innerHTML" not in page


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
@pytest.mark.parametrize("path", ["/", "/status.json"])
def test_another_name_for_this_machine_is_refused(server: Server, host: str, path: str) -> None:
    answer = ask(server, path, host=host)
    assert answer.status == 403
    assert b"runs" not in answer.read()


def test_localhost_is_this_machine(server: Server) -> None:
    assert ask(server, "/", host=f"localhost:{server.server_port}").status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_but_get(server: Server, method: str) -> None:
    assert ask(server, "/status.json", method).status == 405


@pytest.mark.parametrize("path", ["/live.json", "/../plan.json", "/%2e%2e/plan.json", "/x"])
def test_no_file_is_served(server: Server, path: str) -> None:
    assert ask(server, path).status == 404


def test_a_study_that_was_removed_is_told(server: Server) -> None:
    shutil.rmtree(server.study)
    answer = ask(server, "/status.json")
    assert answer.status == 503
    assert "no such folder" in json.loads(answer.read())["error"]


def test_only_this_machine_is_listened_to(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_one_sentence(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    for port in (server.server_port, 99_999):
        assert main(["watch", "--study", str(server.study), "--port", str(port)]) == 2
        assert f"--port {port}: cannot be opened" in capsys.readouterr().err


def test_a_folder_that_is_no_study_is_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["watch", "--study", str(tmp_path)]) == 2
    assert "no study is here" in capsys.readouterr().err


@pytest.mark.parametrize("end", ["Ctrl-C", "once"])
def test_the_verb_serves_and_ends_with_0(tmp_path: Path, made: dict[str, Any], end: str) -> None:
    words = ["watch", "--study", str(begin(tmp_path, made))]
    process = subprocess.Popen(
        [sys.executable, "-m", "scalelab", *words, *(["--once"] if end == "once" else [])],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A background shell may pass on an ignored Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    port = int(line.partition(f"{ADDRESS}:")[2].partition("/")[0])
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=30)
    connection.request("GET", "/status.json")
    assert connection.getresponse().status == 200
    if end == "Ctrl-C":
        process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


def test_the_page_in_a_browser(
    server: Server, tmp_path: Path, made: dict[str, Any], chromium: Any
) -> None:
    """Progress, table and curves are drawn, markup in a label is text, and the page follows."""
    page = chromium.new_page()
    asked: list[str] = []
    faults: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(server.url)
    page.locator("#rows tr").nth(5).wait_for()
    assert page.inner_text("#headline").startswith("study micro: 1 of 6 runs done, 1 running")
    first = page.locator("#rows tr").first.inner_text()
    assert EVIL in first and "117/234" in first and "4.125" in first
    assert page.title() == "1/6 micro"
    assert page.locator("polyline").count() == 2
    assert page.locator("#whole").evaluate("bar => bar.value") > 0
    for number in range(1, 6):
        folder = ended(tmp_path, made, number)
        (folder / "progress.json").unlink(missing_ok=True)
    page.locator("#headline", has_text="6 of 6 runs done").wait_for()
    assert page.title() == "6/6 micro"
    assert page.locator("polyline").count() == 6
    page.close()
    assert faults == []
    assert all(url.startswith(server.url) for url in asked if not url.startswith("data:"))
