"""The fit in the tracker: one run with numbers, tables and figures, linked to the training runs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tracking_stubs import logged, of_kind, several, track

from scalelab.files import digest, write_json
from scalelab.tracking.record import size_tag

Spec = Callable[..., dict[str, Any]]
ROOT = Path(__file__).resolve().parents[3]
LAWS = {
    "provenance": {"scalelab": "0"},
    "fits": [
        {
            "law": "power_offset",
            "formula": "L = E + A N^-alpha",
            "params": {"E": 1.8, "alpha": 0.25},
            "intervals": {"E": [1.7, 1.9], "alpha": [0.2, None]},
            "warnings": ["few sizes"],
        }
    ],
}


@pytest.fixture
def study(results: Path, spec: Spec) -> Path:
    """A results folder whose study has a fit, a figure and a table."""
    several(results, digest(spec()), 2)
    folder = results / "tiny"
    write_json(folder / "laws.json", LAWS)
    (folder / "runs.csv").write_text("id\n1\n")
    for name in ("figures", "tables"):
        (folder / name).mkdir()
    shutil.copy(ROOT / "docs" / "images" / "scaling_law.png", folder / "figures")
    (folder / "tables" / "law.csv").write_text("parameter,value\nE,1.8\nalpha,0.25\n")
    (folder / "tables" / "answers.csv").write_text("answer,value\n")
    (folder / "tables" / "numbers.tex").write_text("\\def\\x{1}\n")
    return results


def test_the_fit_is_a_run_of_its_own_that_names_the_training_runs(study: Path, spec: Spec) -> None:
    pytest.importorskip("wandb")
    runs = [row["wandb_id"] for row in track(study)["runs"]]
    result = track(study, "--fit")
    assert result["warnings"] == []
    (row,) = result["runs"]
    assert row["wandb_id"] == "tiny-fit"
    found = logged(study, row)
    (about,) = of_kind(found, "run")
    assert (about["run_group"], about["job_type"]) == ("tiny", "fit")
    assert set(about["tags"]) == {"fit", "ladder"}
    assert about["config"]["update"]["training_runs"] == runs
    (artifact,) = [a for a in of_kind(found, "artifact") if a["type"] == "scaling-law"]
    assert json.loads(artifact["metadata"])["training_runs"] == runs
    contents = {item["path"]: Path(item["local_path"]) for item in artifact["manifest"]["contents"]}
    assert set(contents) == {
        "laws.json",
        "runs.csv",
        "figures/scaling_law.png",
        "tables/law.csv",
        "tables/answers.csv",
        "tables/numbers.tex",
    }
    # Case W06: staging an artifact is what would fill the home folder.
    assert list((study.parent / "home").rglob("*")) == []
    staged = study / "tiny" / "wandb" / "data"
    assert all(path.is_relative_to(staged.absolute()) for path in contents.values())
    assert json.loads(contents["laws.json"].read_text()) == LAWS
    summary: dict[str, Any] = {}
    for item in of_kind(found, "summary"):
        summary |= item.get("update", {})
    assert summary["power_offset/alpha"] == 0.25
    assert summary["power_offset/E_low"] == 1.7
    assert summary["tables/law.nrows"] == 2
    assert summary["figures/scaling_law._type"] == "image-file"
    assert not any(name.startswith("tables/answers") for name in summary), "no empty table"

    before = set((study / "tiny" / "wandb").glob("offline-run-*"))
    track(study, "--fit")
    assert set((study / "tiny" / "wandb").glob("offline-run-*")) == before
    moved = study.parent / "moved"
    study.rename(moved)
    (again,) = track(moved, "--fit")["runs"]
    (artifact,) = [a for a in of_kind(logged(moved, again), "artifact") if a["type"] != "run_table"]
    assert all(Path(one["local_path"]).exists() for one in artifact["manifest"]["contents"])


@pytest.mark.parametrize(
    ("parameters", "tag"),
    [(888, "N~890"), (150_080, "N~150k"), (1_022_952, "N~1M"), (12_345_678_901, "N~12B")],
)
def test_sizes_are_tagged_to_two_digits(parameters: int, tag: str) -> None:
    assert size_tag(parameters) == tag
