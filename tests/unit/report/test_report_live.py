"""What the page's scripts read: the planner's numbers, the law's lines, curves, costs and links."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from example_designs import write_design
from example_study import write_study

from scalelab.figures import load_study
from scalelab.laws import read_runs
from scalelab.laws.allocation.allocate import allocate
from scalelab.laws.study import fit_study
from scalelab.report import explore, material, planner
from scalelab.report.again import fall, fits_again


@pytest.fixture(scope="module")
def ladder(tmp_path_factory):
    """A study of one number of tokens, with its law fitted by the product."""
    study = write_study(tmp_path_factory.mktemp("live"), lines=400)
    runs = pd.read_csv(study / "runs.csv")
    runs["D"], runs["C"] = 4_000_000, (6 * runs["N"] + 9000) * 4_000_000
    runs.to_csv(study / "runs.csv", index=False)
    laws = json.loads((study / "laws.json").read_text())
    fits = [{"law": "power_offset", "x": column} for column in ("N", "N_total")]
    laws |= fit_study(read_runs(study / "runs.csv"), fits, "example", []) | {
        "growth": laws["growth"]
    }
    (study / "laws.json").write_text(json.dumps(laws))
    return load_study(study / "runs.csv", study / "laws.json")


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """N times D with the law of both and its answer."""
    study = write_design(tmp_path_factory.mktemp("live"), "grid")
    return load_study(study / "runs.csv", study / "laws.json")


def test_each_tenfold_has_an_interval(ladder):
    fit = fits_again(ladder)[0]
    value, low, high = fall(fit, 3e4)
    assert value == pytest.approx(float(fit.predict(3e4)[0] - fit.predict(3e5)[0]), rel=1e-9)
    assert low < value < high
    assert 1.6 * (high - low) < value, "the data determine it"
    assert fall(None, 3e4) is None


def test_a_fit_with_other_constants_is_not_used(ladder):
    laws = json.loads(json.dumps(ladder.laws))
    laws["fits"][0]["params"]["E"] *= 1.01
    again = fits_again(dataclasses.replace(ladder, laws=laws))
    assert again[0] is None and again[1] is not None


def test_along_a_ladder_cost_and_loss_are_those_of_its_runs(ladder):
    again = fits_again(ladder)
    found = planner.planner(ladder, again)
    rows = found["rows"]
    assert found["kind"] == "run" and found["cost"] == "C"
    assert "each size with 4M tokens" in found["about"][0]
    for row in rows:
        n = row["N"][0]
        assert row["D"][0] == pytest.approx(4e6, rel=1e-6)
        assert row["flops"] == pytest.approx((6 * n + 9000) * 4e6, rel=1e-6)
        assert row["loss"][0] == pytest.approx(float(again[0].predict(n)[0]), rel=1e-7)
        assert row["loss"][1:] == pytest.approx(again[0].interval(n, new_run=True)[0], rel=1e-6)
        assert row["beyond"] == (n > 1.001 * max(run.size for run in ladder.runs))
    assert rows[-1]["N"][0] == pytest.approx(100 * max(run.size for run in ladder.runs), rel=1e-6)
    assert found["most"] == max(run.number("C") for run in ladder.runs)


def test_of_a_law_of_both_it_is_the_best_split(grid):
    again = fits_again(grid)
    found = planner.planner(grid, again)
    assert found["kind"] == "mean" and len(found["rows"]) == 2 * planner.STEPS + 1
    for row in found["rows"][::5]:
        one = allocate(again[0], row["flops"])
        for name, value in (("N", one.n), ("D", one.d), ("loss", one.loss)):
            assert row[name] == pytest.approx([value, *one.intervals[name]], rel=1e-5)
        assert row["flops"] == pytest.approx(6 * row["N"][0] * row["D"][0], rel=1e-6)
    largest = max(run.size for run in grid.runs)
    rates = [
        run.number("flops_per_second") * run.number("C_6ND") / run.number("C")
        for run in grid.runs
        if run.size == largest
    ]
    counted = found["speed"]["flops_per_second"]
    assert counted == pytest.approx(sum(rates) / len(rates)), "as the budget is: 6 N D"
    texts = planner.table(found)
    assert [row["beyond"] for row in texts] == [False, False, True, True]
    assert "[" in texts[0]["texts"]["N"] and "[" in texts[0]["texts"]["loss"]


def test_without_a_fit_of_both_the_path_of_the_answer_is_shown(grid):
    bare = dataclasses.replace(grid, laws={**grid.laws, "fits": []})
    found = planner.planner(bare, fits_again(bare))
    path = grid.answered("frontier")[0]["approaches"][0]["path"]
    assert [row["flops"] for row in found["rows"]] == pytest.approx([s["flops"] for s in path])
    for row, step in zip(found["rows"], path, strict=True):
        assert row["N"] == pytest.approx(step["N"], rel=1e-6)
        assert row["loss"][0] is not None and row["loss"][1:] == [None, None]
    none = dataclasses.replace(grid, laws={"fits": []})
    assert planner.planner(none, []) is None and planner.table(None) == []


def test_lines_of_a_law_go_through_the_points_of_their_group(grid):
    (view,) = explore.views(grid)
    assert view["refit"] is None and view["form"]["offset"] == "E"
    for column, lines in view["lines"].items():
        places = [place for line in lines for place in line["points"]]
        assert sorted(places) == list(range(len(view["points"])))
        for line in lines:
            ends = [view["points"][line["points"][end]] for end in (0, -1)]
            for end, point in zip((0, -1), ends, strict=True):
                assert line["value"][end] == pytest.approx(point["predicted"], rel=1e-5)
            along = [row[view["columns"].index(column)] for row in line["at"]]
            assert along == sorted(along)


def test_laws_that_the_page_cannot_fit_say_so(grid, ladder):
    fit = grid.fits[0]
    assert "held or tied" in explore.no_refit({**fit, "tied": [["alpha", "beta"]]})
    assert "no sum of powers" in explore.no_refit({**fit, "law": "kaplan"})
    lad = {**fit, "settings": {**fit["settings"], "objective": "lad"}}
    assert "absolute" in explore.no_refit(lad)
    point = fit["points"][0]
    moved = explore.without(fit, point)
    for name, shift in point["leave_one_out"].items():
        expected = fit["params"][name] + shift * fit["standard_errors"][name]
        assert moved[name] == pytest.approx(expected)
    assert [rival["law"] for rival in explore.views(ladder)[0]["rivals"]] == ["power"]


def test_curves_keep_their_ends_and_few_points(ladder):
    found = material.curves(ladder)
    assert len(found) == len(ladder.runs)
    for curve in found:
        assert len(curve["tokens"]) <= material.CURVE_POINTS
        assert curve["tokens"] == sorted(curve["tokens"])
    lines = [{"tokens": t, "flops": t, "loss_nats": 3.0} for t in range(1, 2001)]
    kept = material.thinned(lines, 50)
    assert kept[0] is lines[0] and kept[-1] is lines[-1] and 25 < len(kept) <= 50
    assert material.thinned(lines[:9], 50) == lines[:9]


def test_links_lead_only_to_what_is_there(ladder, tmp_path):
    first, second = ladder.runs[:2]
    log = ladder.runs_root / first.id / "logs" / "train.log"
    log.parent.mkdir()
    log.write_text("x")
    out = ladder.runs_root.parent / "example" / "report.html"
    url = "https://wandb.example/runs/1"
    tracking = {
        "runs": [
            {"id": first.id, "wandb_id": "one", "uploaded": True, "url": url},
            {"id": second.id, "wandb_id": "two", "uploaded": False, "url": url},
        ]
    }
    links = material.links(ladder, out, tracking)
    assert links[first.id]["log"] == f"../runs/{first.id}/logs/train.log"
    assert (out.parent / links[first.id]["log"]).resolve() == log.resolve()
    assert links[first.id]["url"] == url and links[first.id]["where"] == "uploaded"
    assert links[second.id]["log"] is None and links[second.id]["url"] is None
    assert links[second.id]["wandb"] == "two"
    assert links[ladder.runs[2].id]["wandb"] is None
    tracking["runs"][0]["url"] = "javascript:alert(1)"
    assert material.links(ladder, out, tracking)[first.id]["url"] is None


def test_costs_are_those_that_some_run_has(ladder):
    found = {one["column"]: one for one in material.costs(ladder)}
    assert found["seconds"]["growth"]["exponent"] == ladder.growth["seconds"]["exponent"]
    bare = [dataclasses.replace(r, columns={**r.columns, "mfu": ""}) for r in ladder.runs]
    names = [one["column"] for one in material.costs(dataclasses.replace(ladder, runs=bare))]
    assert "mfu" not in names and "seconds" in names
    assert np.isfinite([one["scale"] for one in found.values()]).all()
