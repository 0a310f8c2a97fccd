"""The answer transfer: the D_T that runs were made with, bounds beyond the runs, refusals."""

import numpy as np
import pandas as pd
import pytest

from scalelab.errors import UserError
from scalelab.laws.answers.registry import Material
from scalelab.laws.answers.transfer import transfer
from scalelab.laws.answers.words import describe

SIZES = (1e4, 3e4, 1e5)
K, ALPHA, BETA = 40.0, 0.2, 0.7
"""Of D_T = K D_F^ALPHA N^BETA."""
FEW = (2e4, 6e4, 2e5)
MANY = tuple(np.geomspace(1e4, 1e7, 13))


def law(n, d):
    return 1.5 + 40 * n**-0.3 + 90 * d**-0.35


def transferred(n, d):
    return K * d**ALPHA * n**BETA


def table(noise=0.0, seeds=1, scratch=MANY, few=FEW):
    """Losses of runs from random weights, and of runs that start with D_T seen already."""
    generator = np.random.default_rng(3)
    rows = []
    for n in SIZES:
        for seed in range(seeds):
            for d in scratch:
                rows.append({"init": None, "N": n, "D": d, "seed": seed, "loss": law(n, d)})
            for d in few:
                loss = law(n, d + transferred(n, d))
                rows.append({"init": "before", "N": n, "D": d, "seed": seed, "loss": loss})
    frame = pd.DataFrame(rows).rename(columns={"loss": "loss_nats"})
    frame["loss_nats"] *= np.exp(noise * generator.standard_normal(len(frame)))
    return frame


def test_transferred_data_and_their_law_come_back():
    block = transfer(Material(table()), {})
    (value,) = block["values"]
    assert value["value"] == "before" and len(value["cells"]) == len(SIZES) * len(FEW)
    for cell in value["cells"]:
        truth = transferred(cell["N"], cell["D"])
        assert cell["transferred"] == pytest.approx(truth, rel=0.02)
        assert cell["effective"] == pytest.approx(truth + cell["D"], rel=0.02)
        assert cell["share"] == pytest.approx(truth / (truth + cell["D"]), abs=0.01)
    found = value["law"]
    assert found["points"] == 9
    assert found["exponent_D"][0] == pytest.approx(ALPHA, abs=0.02)
    assert found["exponent_N"][0] == pytest.approx(BETA, abs=0.02)
    assert found["log_k"] == pytest.approx(np.log(K), abs=0.3)
    at = found["at"]
    assert found["value"][0] == pytest.approx(transferred(at["N"], at["D"]), rel=0.02)
    assert any("effective data have no interval" in text for text in block["warnings"])
    said = describe({"answer": "transfer", **block})
    assert "From before a model of N = 10000 has after 20000 tokens the loss that takes " in said
    assert "D_T goes as D_F^0.2" in said and "(9 runs from before, 95% intervals)" in said


def test_intervals_from_seeds_hold_the_truth():
    block = transfer(Material(table(noise=0.002, seeds=4)), {})
    (value,) = block["values"]
    inside = [
        low < transferred(cell["N"], cell["D"]) < high
        for cell in value["cells"]
        for low, high in [cell["transferred_interval"]]
        if None not in (low, high)
    ]
    assert len(inside) == 9 and sum(inside) >= 8
    for name, truth in (("exponent_D", ALPHA), ("exponent_N", BETA)):
        low, high = value["law"][name][1:]
        assert low < truth < high and high - low < 0.6


def test_beyond_the_runs_effective_data_are_a_bound():
    short = table(scratch=np.geomspace(5e4, 4e5, 5))
    block = transfer(Material(short), {})
    (value,) = block["values"]
    bounds = {(cell["N"], cell["D"]): cell["bound"] for cell in value["cells"]}
    for cell in value["cells"]:
        wanted = transferred(cell["N"], cell["D"]) + cell["D"]
        assert cell["bound"] == ("more" if wanted > 4e5 else "less" if wanted < 5e4 else None)
        assert (cell["effective"] is None) == (cell["bound"] is not None)
        assert cell["measured"] == pytest.approx([5e4, 4e5])
    assert {*bounds.values()} == {"more", None}
    said = describe({"answer": "transfer", **block})
    assert "their D_E is more than the most that was measured (400000 tokens)" in said
    assert any("are no part of its law" in text for text in block["warnings"])


def test_a_start_that_does_harm_has_a_transfer_below_0():
    runs = table()
    tuned = runs["init"].notna()
    runs.loc[tuned, "loss_nats"] = [law(n, d / 2) for n, d in runs.loc[tuned, ["N", "D"]].values]
    block = transfer(Material(runs), {})
    (value,) = block["values"]
    for cell in value["cells"]:
        assert cell["transferred"] == pytest.approx(-cell["D"] / 2, rel=0.02)
    assert value["law"] is None
    assert any("no law of D_T" in text for text in block["warnings"])


def test_runs_that_gain_nothing_from_more_tokens_are_left_out_of_the_curve():
    runs = table()
    place = runs.index[(runs["N"] == 1e4) & runs["init"].isna()][5]
    runs.loc[place, "loss_nats"] *= 1.2
    block = transfer(Material(runs), {})
    assert any(text.startswith("N = 1e+04: 1 runs from random") for text in block["warnings"])
    for cell in block["values"][0]["cells"]:
        truth = transferred(cell["N"], cell["D"])
        assert cell["transferred"] == pytest.approx(truth, rel=0.1)


def test_what_cannot_be_answered_is_one_sentence():
    runs = table()
    with pytest.raises(UserError, match="init"):
        transfer(Material(runs.drop(columns="init")), {})
    with pytest.raises(UserError, match="found 0 checkpoints in the column init and 39 runs"):
        transfer(Material(runs[runs["init"].isna()]), {})
    with pytest.raises(UserError, match="two or more D from random weights"):
        transfer(Material(runs[runs["init"].notna() | (runs["D"] == 1e4)]), {})
    with pytest.raises(UserError, match="level is 2"):
        transfer(Material(runs), {"level": 2})
