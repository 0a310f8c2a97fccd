"""results/README.md names every column of runs.csv."""

import re
from pathlib import Path

from workflow_project import Finished

README = Path(__file__).parents[2] / "results" / "README.md"


def test_every_column_is_documented(finished: Finished) -> None:
    named = set(re.findall(r"`(\w+)`", README.read_text(encoding="utf-8")))
    assert set(finished.project.rows()[0]) - named == set()
