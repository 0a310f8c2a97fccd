"""Runs scored on further texts: in one file with the split, in columns of their own, fitted."""

import random
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from scalelab import config
from scalelab.corpus.sets import prepare_set
from scalelab.errors import UserError
from scalelab.evaluation.collect import row
from scalelab.evaluation.columns import measure_of, of_set, set_of
from scalelab.evaluation.run import evaluate
from scalelab.files import read_json, write_json
from scalelab.laws.study import fit_study
from scalelab.plan.runs import build

SETTINGS = {"format": 1, "split": "test", "context": 16, "stride": 8}


@pytest.fixture(scope="module")
def beside(corpus_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A copy of the tiny corpus with two sets beside it: like its text, and of digits."""
    root = tmp_path_factory.mktemp("sets")
    shutil.copytree(corpus_folder, root / "corpus")
    rng = random.Random(3)
    for name, letters in (("near", "etaoinshrdlu"), ("far", "0123456789")):
        (root / name).mkdir()
        for number in range(20):
            words = ("".join(rng.choices(letters, k=rng.randint(2, 7))) for _ in range(60))
            (root / name / f"{number}.txt").write_text(" ".join(words) + "\n")
    sets = [
        {"name": name, "source": "files", "paths": [f"{root}/{name}/*.txt"], "tokens": 1000}
        for name in ("near", "far")
    ]
    study = {"study": "s", "training": {"tokens": "1M"}, "ladder": {"widths": [32]}}
    plan = build(config.parse({**study, "evaluation": {"sets": sets}}))
    for identity, spec in plan.sets.items():
        prepare_set(spec, root / "corpus", root / "corpus" / "sets" / identity, lambda _: None)
    return root / "corpus", plan


def scored(run: Path, corpus: Path, out: Path, **settings: Any) -> dict[str, Any]:
    return evaluate(run, corpus, {**SETTINGS, **settings}, out, 1, lambda _: None)


def test_the_split_scores_as_without_sets_and_each_set_beside_it(
    trained: Path, corpus_folder: Path, beside: tuple[Path, Any], tmp_path: Path
) -> None:
    corpus, plan = beside
    alone = scored(trained, corpus_folder, tmp_path / "a.json")
    found = scored(trained, corpus, tmp_path / "b.json", sets=plan.evaluation["sets"])
    assert "sets" not in alone
    assert found == read_json(tmp_path / "b.json")
    for key in ("loss_nats", "loss_nats_se", "perplexity", "bits_per_byte", "text_sha256"):
        assert found[key] == alone[key]
    assert list(found["sets"]) == ["near", "far"]
    near, far = found["sets"]["near"], found["sets"]["far"]
    assert set(near) == {*("loss_nats", "loss_nats_se", "perplexity", "bits_per_byte")} | {
        *("tokens", "bytes", "text_sha256")
    }
    assert near["tokens"] == far["tokens"] == 999
    assert near["loss_nats"] == pytest.approx(found["loss_nats"], abs=0.2)
    assert far["loss_nats"] > near["loss_nats"] + 1, "digits were never trained on"
    assert near["loss_nats_se"] > 0


def test_each_set_has_its_columns(trained: Path, beside: tuple[Path, Any], tmp_path: Path) -> None:
    corpus, plan = beside
    found = scored(trained, corpus, tmp_path / "e.json", sets=plan.evaluation["sets"])
    cells = row("d8", read_json(trained / "run.json"), found)
    for name in ("near", "far"):
        for column in ("loss_nats", "loss_nats_se", "perplexity", "bits_per_byte"):
            assert cells[of_set(name, column)] == found["sets"][name][column]
    assert (set_of("near:loss_nats"), set_of("loss_nats")) == ("near", None)
    assert measure_of("near:loss_nats") == measure_of("loss_nats") == "loss_nats"


def test_a_run_that_failed_has_empty_sets(
    trained: Path, beside: tuple[Path, Any], tmp_path: Path
) -> None:
    corpus, plan = beside
    shutil.copytree(trained, tmp_path / "run")
    run = {**read_json(trained / "run.json"), "status": "diverged", "reason": "step 3"}
    write_json(tmp_path / "run" / "run.json", run)
    found = scored(tmp_path / "run", corpus, tmp_path / "e.json", sets=plan.evaluation["sets"])
    assert found["sets"]["far"]["loss_nats"] is None
    assert found["sets"]["far"]["text_sha256"]
    assert row("d8", run, found)["far:loss_nats"] is None


def test_a_set_that_was_not_prepared_is_named(
    trained: Path, corpus_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"sets/0a/manifest\.json: no such file"):
        scored(trained, corpus_folder, tmp_path / "e.json", sets={"far": "0a"})
    assert not (tmp_path / "e.json").exists()


def ladder() -> pd.DataFrame:
    """Runs whose losses follow one law on the split and another on the set."""
    sizes = [1e4 * 2**place for place in range(8)]
    rows = [
        {
            "label": f"d{place}",
            "N": size,
            "D": 1e7,
            "loss_nats": 1.5 + 30 * size**-0.3,
            "bits_per_byte": 1.0 + 10 * size**-0.3,
            "far:loss_nats": 2.5 + 20 * size**-0.2,
            "far:loss_nats_se": 0.01,
            "far:bits_per_byte": 2.0 + 9 * size**-0.25,
        }
        for place, size in enumerate(sizes)
    ]
    return pd.DataFrame(rows)


def test_a_fit_asks_for_a_set() -> None:
    fits = [
        {"law": "power_offset", "x": "N", "y": "loss_nats", "set": None},
        {"law": "power_offset", "x": "N", "y": "loss_nats", "set": "far", "noise": "loss_nats_se"},
        {"law": "power_offset", "x": "N", "y": "bits_per_byte", "set": "far"},
    ]
    made = fit_study(ladder(), [{**one, "intervals": "profile"} for one in fits], "s")["fits"]
    assert [one["y"] for one in made] == ["loss_nats", "far:loss_nats", "far:bits_per_byte"]
    for one, (floor, power) in zip(made, [(1.5, 0.3), (2.5, 0.2), (2.0, 0.25)], strict=True):
        assert one["params"]["E"] == pytest.approx(floor, abs=0.01)
        assert one["params"]["alpha"] == pytest.approx(power, abs=0.005)
    assert made[1]["points"][0]["far:loss_nats"] == pytest.approx(2.5 + 20 * 1e4**-0.2)
    assert made[1]["settings"]["noise"] == "far:loss_nats_se"


def test_a_fit_of_a_set_that_no_run_was_scored_on_is_refused() -> None:
    with pytest.raises(UserError, match=r"near:loss_nats"):
        fit_study(ladder(), [{"law": "power_offset", "set": "near"}], "s")
