"""The report in a real headless Chromium: studies with known laws, pages that may fetch nothing.

The browser is that of `tests/conftest.py`; without one the tests are skipped, with the reason.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from opened import EVIL, Opened
from playwright.sync_api import Browser

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit" / "figures"))

from example_designs import write_design
from example_study import write_study

from scalelab.figures import draw, load_study
from scalelab.laws import read_runs
from scalelab.laws.study import fit_study
from scalelab.report import write_report

PATIENCE = 180_000  # milliseconds, on a machine that has other work too


@pytest.fixture(scope="session")
def ladder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight sizes, some with two seeds, one that diverged; both ways of counting; a nasty name."""
    root = tmp_path_factory.mktemp("pages")
    study = write_study(root, lines=30, labels={"d24-s1": EVIL}, failed={7: "diverged"})
    runs = read_runs(study / "runs.csv")
    laws = json.loads((study / "laws.json").read_text(encoding="utf-8"))
    fits = [{"law": "power_offset", "x": column} for column in ("N", "N_total")]
    laws |= {**fit_study(runs, fits, "example", []), "growth": laws["growth"]}
    (study / "laws.json").write_text(json.dumps(laws, allow_nan=False), encoding="utf-8")
    for kind in ("scaling_law", "loss_vs_tokens", "cost"):
        draw(kind, study, study / "figures", formats=("svg",))
    loaded = load_study(study / "runs.csv", study / "laws.json")
    for run in loaded.runs[:3]:
        log = loaded.runs_root / run.id / "logs" / "train.log"
        log.parent.mkdir()
        log.write_text("step 1\n", encoding="utf-8")
    tracking = {"runs": [{"id": run.id, "wandb_id": f"example-{run.id}"} for run in loaded.runs]}
    write_report(
        loaded, study / "figures", study / "report.html", samples=texts(), tracking=tracking
    )
    return study


def texts() -> dict[str, Any]:
    """What `scalelab samples` writes."""
    one = {"id": "0" * 12, "label": "a", "D": 1e6, "reason": None}
    return {
        "settings": {"tokens": 5, "temperature": 0.8, "seed": 0},
        "prompts": [{"text": "def ", "goes_on": "main():"}],
        "sizes": [
            {**one, "N": 1e4, "loss_nats": 3.9, "texts": [EVIL]},
            {**one, "N": 1e5, "loss_nats": 2.9, "texts": ["draw(self):"]},
        ],
    }


@pytest.fixture(scope="session")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """N times D with the law of both."""
    study = write_design(tmp_path_factory.mktemp("pages"), "grid")
    draw("contours", study, study / "figures", formats=("svg",))
    loaded = load_study(study / "runs.csv", study / "laws.json")
    write_report(loaded, study / "figures", study / "report.html")
    return study


@pytest.fixture(scope="session")
def visit(chromium: Browser) -> Callable[..., Opened]:
    """A function that opens a study's page in a fresh context and waits until it is ready."""

    def get(study: Path, width: int = 1200, before: str = "", **context: Any) -> Opened:
        size = {"width": width, "height": 900}
        page = chromium.new_context(viewport=size, **context).new_page()
        page.set_default_timeout(PATIENCE)
        opened = Opened(page)
        opened.watch()
        if before:
            page.add_init_script(before)
        page.goto((study / "report.html").as_uri())
        if context.get("java_script_enabled", True):
            page.wait_for_selector("html[data-ready]", state="attached")
        return opened

    return get


@pytest.fixture(scope="session")
def seen(visit: Callable[..., Opened], ladder: Path) -> Opened:
    """The ladder's page, shared by tests that leave it as they found it."""
    return visit(ladder)


@pytest.fixture(scope="session")
def table() -> Callable[[Path], pd.DataFrame]:
    """A function that reads a study's runs."""
    return lambda study: read_runs(study / "runs.csv")
