"""The pipeline finds a floor that is known beforehand: config/known-truth.yaml in small.

Everything is real: the corpus, the trunk and its branches, the evaluation and the fit. The truth is
the entropy of the text, in closed form.
"""

import json
from pathlib import Path

import pandas as pd
import pytest

from scalelab import laws
from scalelab.cli import main
from scalelab.config import load
from scalelab.corpus.prepare import prepare
from scalelab.evaluation.run import evaluate
from scalelab.plan.runs import build
from scalelab.plan.trunks import branch_step

STUDY = Path(__file__).resolve().parents[2] / "config" / "known-truth.yaml"
SMALLER = {
    "corpus.synthetic.tokens": "1.9M",
    "axes": {"training.tokens": ["250k", "350k", "500k", "700k", "1M", "1.4M"]},
    "ladder.seeds": 1,
    "training.precision": "fp32",
}


def quiet(line: str) -> None:
    """Nobody reads the progress of a test."""


@pytest.mark.slow
def test_the_floor_lies_in_its_interval(tmp_path: Path) -> None:
    plan = build(load(STUDY, SMALLER))
    known = prepare(plan.corpora[plan.corpus_id], tmp_path / "corpus", quiet)["truth"]
    runs = {branch_step(run.spec): run for run in plan.runs}
    (trunk,) = plan.trunks
    rows = []
    start: list[str] = []
    for end, run in sorted(runs.items()):
        common = ["--corpus", str(tmp_path / "corpus"), "--threads", "1"]
        state, folder = tmp_path / "trunk" / f"{end}.state", tmp_path / run.id
        words = ["--spec", json.dumps(trunk.spec), "--steps", str(end), *start]
        assert main(["trunk", *words, *common, "--out", str(state)]) == 0
        start = ["--start", str(state)]
        words = ["--spec", json.dumps(run.spec), *start]
        assert main(["train", *words, *common, "--out", str(folder)]) == 0
        score = evaluate(
            folder, tmp_path / "corpus", plan.evaluation, folder / "score.json", 1, quiet
        )
        rows.append({"D": run.tokens, "loss_nats": score["loss_nats"]})
    losses = [row["loss_nats"] for row in rows]
    floor = known["floor_test_nats"]
    # The largest run is near the floor, not below it: no model can know more than the truth.
    assert floor < losses[-1] < 1.005 * floor
    assert losses == sorted(losses, reverse=True)
    found = laws.fit("power_offset", pd.DataFrame(rows), x=["D"])
    low, high = found.intervals["E"]
    assert low is not None and high is not None
    assert low <= floor <= high
    assert high - low < 0.02 * floor, "an interval that says something"
