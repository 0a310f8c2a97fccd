"""Designs from their file to their report, in small, through the real command line."""

import itertools
from typing import Any

import pytest
from workflow_project import Project, job_counts

pytestmark = pytest.mark.slow
NO_TOKENS: dict[str, Any] = {"tokens": None}


def test_a_design_is_answered_from_its_file_to_its_report(project: Project) -> None:
    """Several budgets."""
    changes: dict[str, Any] = {
        "study": "isoflop",
        "design": {
            "kind": "isoflop",
            "budgets": [1e9, 4e9],
            "sizes": 4,
            "optimum": {"value": 5e3, "at": 1e9},
        },
        "ladder": {"widths": [8, 12, 16, 24, 32, 40]},
        "training": NO_TOKENS,
    }
    project.write("design.yaml", **changes)
    project.complete(study="design.yaml")
    rows = project.rows("isoflop")
    assert {row["status"] for row in rows} == {"ok"}
    assert {float(row["budget"]) for row in rows} == {1e9, 4e9}
    (frontier,) = project.json("isoflop/laws.json")["answers"]
    assert {one["approach"] for one in frontier["approaches"]} >= {"parametric", "isoflop"}
    folder = project.root / "results" / "isoflop"
    assert "isoflop" in (folder / "report.html").read_text(encoding="utf-8").lower()
    assert "isoflop" in {path.stem for path in (folder / "figures").iterdir()}
    assert job_counts(project.complete("--dry-run", study="design.yaml")) == {}


def test_vocabularies_are_compared_with_a_corpus_for_each(project: Project) -> None:
    changes: dict[str, Any] = {
        "study": "vocab",
        "corpus": {"tokenizer": "bpe", "test_tokens": 5_000, "tuning_tokens": 2_000},
        "design": {"kind": "vocab", "vocab_sizes": [300, 400, 600]},
        "ladder": {"widths": [16]},
        "training": {"tokens": 20_000},
    }
    project.write("vocab.yaml", **changes)
    project.complete("--until", "fit", study="vocab.yaml")
    rows = project.rows("vocab")
    assert {row["status"] for row in rows} == {"ok"}
    assert len({row["corpus"] for row in rows}) == 3
    laws = project.json("vocab/laws.json")
    (best,) = laws["answers"]
    assert best["axis"] == "vocab"
    assert len(best["sizes"][0]["points"]) == 3, "compared at equal FLOPs, not at equal tokens"
    assert laws["fits"] == []


def test_families_are_compared_and_speak(project: Project) -> None:
    """`config/axes/families.yaml` in small: a dense family and a sparse one."""
    changes: dict[str, Any] = {
        "study": "families",
        "axes": {"model.family": ["llama", "moe"]},
        "ladder": {"widths": [8, 12, 16, 24]},
        "training": {"tokens": 20_000},
        "fits": [],
    }
    project.write("families.yaml", **changes)
    project.complete("--until", "fit", "samples", study="families.yaml")
    rows = project.rows("families")
    assert {(row["family"], row["status"]) for row in rows} == {("llama", "ok"), ("moe", "ok")}
    for row in rows:
        assert (row["N"] == row["N_active"]) == (row["family"] == "llama")
    laws = project.json("families/laws.json")
    assert laws["failed"] == [] and laws["fits"] == []
    (block,) = laws["answers"]
    assert (block["axis"], block["x"], block["y"]) == ("family", "N_active", "bits_per_byte")
    assert [one["sizes"] for one in block["values"]] == [4, 4]
    low, high = block["values"][1]["offset_ratio"][1:]
    assert 0.5 < low < high < 2
    samples = project.json("families/samples.json")
    assert {size["reason"] for size in samples["sizes"]} == {None}


def test_an_adaptive_study_goes_in_rounds_and_stops(project: Project) -> None:
    changes: dict[str, Any] = {
        "study": "adaptive",
        "design": {"kind": "grid", "tokens": [20_000, 40_000, 60_000]},
        "training": NO_TOKENS,
        "adaptive": {"until": {"alpha": 1e-6}, "start": 6, "runs_per_round": 2},
    }
    project.write("adaptive.yaml", **changes)
    # The limit is known from the costs: 6 runs to begin with and some rounds after them.
    plan = planned(project)
    costs = sorted(item["C"] for item in plan["runs"])
    limit = sum(costs[:8]) + costs[-1]
    changes["adaptive"]["max_flops"] = limit
    project.write("adaptive.yaml", **changes)
    project.complete("--until", "fit", study="adaptive.yaml")
    folder = project.root / "results" / "adaptive"
    count = len(list((folder / "rounds").glob("*.json")))
    rounds = [project.json(f"adaptive/rounds/{k}.json") for k in range(count)]
    assert len(rounds) >= 3
    assert [one["stop"] is None for one in rounds] == [True] * (len(rounds) - 1) + [False]
    assert len(rounds[0]["runs"]) == 6
    for before, after in itertools.pairwise(rounds):
        assert after["runs"] == before["runs"] + after["added"]
        assert after["flops"] <= limit
    rows = project.rows("adaptive")
    assert {row["id"] for row in rows} == set(rounds[-1]["runs"])
    assert len(rows) < 15, "not all runs of the design were trained"
    assert "rounds:" in project.json("adaptive/plan.json")["notes"][-1]
    again = project.complete("--until", "fit", "--dry-run", study="adaptive.yaml")
    assert job_counts(again) == {}


def planned(project: Project) -> Any:
    """The candidates of the adaptive study."""
    import subprocess
    import sys

    out = project.root / "candidates.json"
    words = [sys.executable, "-m", "scalelab", "plan", "adaptive.yaml", "--json", str(out)]
    subprocess.run(words, cwd=project.root, check=True)
    return project.json("../candidates.json")
