"""What holds for all tests: what was measured on this machine is kept apart from the user's; one
thread a process; one browser for all pages, since a process starts Playwright once."""

import importlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import pytest

# Before torch and numpy are loaded. A second thread waits in a loop, which costs small tensors
# several times their own work, and the other processes of the tests a processor.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Tests are of the processor, where sums have an order; those of tests/unit/cuda are of CUDA.
os.environ.setdefault("SCALELAB_DEVICE", "cpu")

APART = Path(__file__).resolve().parents[1] / ".tasks"
"""Where continuous integration puts requirements-tasks.lock and requirements-fp8.lock: beside the
environment, where they would replace a package and slow down others."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow tests first, or the last processes would wait for one that is left with them.

    xdist (`--dist worksteal`) hands each process a part of the list as it stands, so each part is
    made to begin with its share of them. The first part begins with one that makes the study for
    all that run a workflow, and the others of these stand last among the slow ones. The second
    begins with the test of a cluster, which waits for minutes.
    """
    parts = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if parts == 1:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    slow.sort(key=lambda item: "workflow" in item.path.parts)
    first = next((item for item in slow if "workflow" in item.path.parts), None)
    slow = [item for item in slow if item is not first]
    quick = [item for item in items if not item.get_closest_marker("slow")]
    total = len(items)
    items[:] = []
    for number in range(parts):
        mine = slow[(number - 1) % parts :: parts]
        if number == 0 and first is not None:
            mine.insert(0, first)
        share = (total - len(items)) // (parts - number)
        room = max(share - len(mine), 0)
        items += [*mine, *quick[:room]]
        del quick[:room]
    items += quick


@pytest.fixture(scope="module")
def apart() -> Iterator[Callable[[str, str], Any]]:
    """Import a package of an extra that may lie in `APART`; without it the test is skipped.

    The path is that of one module of tests, since others start processes with the path as it is.
    """
    with pytest.MonkeyPatch.context() as patch:

        def found(name: str, extra: str) -> Any:
            if PathFinder.find_spec(name) is None and APART.is_dir():
                patch.setattr(sys, "path", [*sys.path, str(APART)])
            if PathFinder.find_spec(name) is None:
                pytest.skip(f"{name} is not installed (pip install 'scalelab[{extra}]')")
            return importlib.import_module(name)

        yield found


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of this test session, for all its processes.

    Which way of computing is the quickest is measured once and kept there: runs that are to be
    equal bit for bit must find the same, whichever worker trains them.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    folder.mkdir(exist_ok=True)
    os.environ["XDG_CACHE_HOME"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A real headless browser, driven by Playwright; skips with the reason where there is none."""
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser in PATH: looked for {', '.join(BROWSERS)}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()
