"""What designs ask: answers of tables whose optimum, rule or exponents are known."""

import json

import numpy as np
import pandas as pd
import pytest

from scalelab.errors import UserError
from scalelab.laws.allocation.envelope import envelope
from scalelab.laws.allocation.vertex import parabola
from scalelab.laws.answers import Material, get, names
from scalelab.laws.answers.curves import finished_runs
from scalelab.laws.answers.words import sentences
from scalelab.laws.study import fit_study

E, A, ALPHA, B, BETA = 1.7, 26.0, 0.28, 90.0, 0.33
SHARE = BETA / (ALPHA + BETA)


def law(n, d):
    return E + A * n**-ALPHA + B * d**-BETA


def best_size(flops):
    """Hoffmann et al. 2022, equation 4."""
    return (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA)) * (flops / 6) ** SHARE


def table(rows) -> pd.DataFrame:
    """Rows of (N, D, loss, more), with what every table has."""
    return pd.DataFrame(
        [
            {
                "id": f"{place:012x}", "label": f"r{place}", "N": int(n), "D": int(d),
                "C": 6 * int(n) * int(d), "loss_nats": loss, "seconds": 2.0, "threads": 1,
                "status": "ok", "reason": None, **more,
            }
            for place, (n, d, loss, more) in enumerate(rows)
        ]
    )  # fmt: skip


def budgets(shift=1.0, sizes=7, noise=0.0) -> pd.DataFrame:
    random = np.random.default_rng(3)
    rows = []
    for flops in np.geomspace(1e12, 1e14, 5):
        for n in best_size(flops) * shift * np.geomspace(1 / 3, 3, sizes):
            d = flops / 6 / n
            loss = law(n, d) * np.exp(noise * random.standard_normal())
            rows.append((n, d, loss, {"budget": flops}))
    return table(rows)


def sweep(sizes=(1e4, 4e4, 1.6e5, 6.4e5), seeds=1, noise=0.0, exponent=-0.3) -> pd.DataFrame:
    """A rate whose optimum is 5e-3 (N / 1e5)^exponent, crossed with a batch best at 1000."""
    random = np.random.default_rng(5)
    rows = []
    for n in sizes:
        best = 5e-3 * (n / 1e5) ** exponent
        for lr in 5e-4 * 2.0 ** np.arange(7):
            for batch in (250, 500, 1000, 2000, 4000):
                for seed in range(seeds):
                    far = 0.01 * np.log(lr / best) ** 2 + 0.02 * np.log(batch / 1000) ** 2
                    loss = law(n, 1e6) * np.exp(far + noise * random.standard_normal())
                    rows.append((n, 1e6, loss, {"lr": lr, "batch_tokens": batch, "seed": seed}))
    return table(rows)


def frontier(runs, **settings):
    return get("frontier").make(Material(runs), settings)


def optimum(runs, axis="lr", **settings):
    return get("optimum").make(Material(runs), {"axis": axis, **settings})


def by_name(block):
    return {one["approach"]: one for one in block["approaches"]}


# --- The frontier ---------------------------------------------------------------------------------


def test_three_approaches_find_the_exponents_of_the_law():
    runs = budgets()
    # The envelope needs sizes that several budgets share.
    ladder = np.geomspace(2e4, 4e6, 22)
    rows = [
        (n, c / 6 / n, law(n, c / 6 / n), {"budget": c})
        for c in np.geomspace(1e12, 1e14, 9)
        for n in ladder
        if 1 / 4 < n / best_size(c) < 4
    ]
    block = frontier(table(rows))
    json.dumps(block, allow_nan=False)
    found = by_name(block)
    assert found["parametric"]["N_opt"]["exponent"] == pytest.approx(SHARE, abs=1e-3)
    assert found["isoflop"]["N_opt"]["exponent"] == pytest.approx(SHARE, abs=5e-3)
    assert found["envelope"]["N_opt"]["exponent"] == pytest.approx(SHARE, abs=0.02)
    for name in ("parametric", "isoflop"):
        exponents = by_name(frontier(runs))[name]
        a, b = (exponents[key]["exponent"] for key in ("N_opt", "D_opt"))
        assert a + b == pytest.approx(1, abs=2e-3)


def test_the_envelope_of_finished_runs_comes_to_the_exponent_on_a_dense_ladder():
    """Between runs the curves are straight lines in logs, which lie above the law: 0.5548 with nine
    budgets and 22 sizes."""
    rows = [
        (n, c / 6 / n, law(n, c / 6 / n), {})
        for c in np.geomspace(1e12, 1e14, 33)
        for n in np.geomspace(2e4, 4e6, 60)
        if 1 / 4 < n / best_size(c) < 4
    ]
    found = envelope(finished_runs(table(rows), "loss_nats"), run="run")
    assert found.frontier.n_law.exponent == pytest.approx(SHARE, abs=1e-3)


def test_the_optimum_of_the_largest_budget_is_that_of_the_law():
    for one in frontier(budgets())["approaches"]:
        if one["reason"] is None:
            assert one["at"]["flops"] == pytest.approx(1e14)
            assert one["at"]["N"][0] == pytest.approx(best_size(1e14), rel=0.02)
            assert one["at"]["D"][0] == pytest.approx(1e14 / 6 / best_size(1e14), rel=0.02)


def test_intervals_hold_the_truth_and_are_no_wider_than_the_noise_warrants():
    block = frontier(budgets(noise=0.002))
    found = by_name(block)
    assert "(parametric, isoflop) share 0.5" in block["agreement"]
    for name in ("parametric", "isoflop"):
        low, high = found[name]["N_opt"]["interval"]
        assert low < SHARE < high and high - low < 0.15
    for profile in found["isoflop"]["profiles"]:
        low, high = profile["N_opt_interval"]
        assert low < best_size(profile["flops"]) < high


def test_minima_outside_of_the_sizes_name_the_size_to_add():
    block = frontier(budgets(shift=0.2))
    isoflop = by_name(block)["isoflop"]
    assert "0 of 5 FLOP budgets have a minimum" in isoflop["reason"]
    assert len(isoflop["profiles"]) == len(isoflop["warnings"]) == 5
    sizes = [item["N"] for item in isoflop["profiles"][0]["sizes"]]
    step = sizes[-1] ** 2 / sizes[-2]
    assert f"add N = {step:.3g}" in isoflop["warnings"][0]
    assert by_name(block)["parametric"]["N_opt"]["exponent"] == pytest.approx(SHARE, abs=1e-3)


def test_an_approach_that_cannot_be_made_says_why():
    rows = [
        (n, d, law(n, d), {}) for n in np.geomspace(1e4, 1e6, 5) for d in np.geomspace(1e6, 1e8, 5)
    ]
    found = by_name(frontier(table(rows)))
    assert "no IsoFLOP curves" in found["isoflop"]["reason"]
    assert found["parametric"]["reason"] is None


def test_the_cost_counts_every_run_and_a_shared_trunk_once():
    runs = budgets().assign(trunk=None, trunk_steps=0, steps=10)
    runs.loc[[0, 1], ["trunk", "trunk_steps"]] = ["t", 5]
    runs.loc[2, ["status", "loss_nats"]] = ["diverged", np.nan]
    cost = frontier(runs)["cost"]
    assert cost["runs"] == 35
    assert cost["seconds"] == pytest.approx(2.0 * 34.5)
    assert cost["core_hours"] == pytest.approx(2.0 * 34.5 / 3600)


def test_training_curves_make_the_envelope_where_there_are_any(tmp_path):
    rows = [(n, 2e7, law(n, 2e7), {}) for n in np.geomspace(2e4, 2e6, 12)]
    runs = table(rows).assign(schedule="constant")
    for row in runs.to_dict("records"):
        folder = tmp_path / row["id"]
        folder.mkdir()
        lines = [
            {"tokens": d, "flops": 6 * row["N"] * d, "loss_nats": law(row["N"], d)}
            for d in np.geomspace(1e5, 2e7, 200)
        ]
        text = "\n".join(json.dumps(line) for line in lines)
        (folder / "metrics.jsonl").write_text(text, encoding="utf-8")
    block = get("frontier").make(Material(runs, (), tmp_path), {})
    found = by_name(block)["envelope"]
    assert found["made_of"] == "training curves"
    assert found["N_opt"]["exponent"] == pytest.approx(SHARE, abs=0.05)
    assert not any("comes down" in text for text in found["warnings"])
    (tmp_path / runs["id"][3] / "metrics.jsonl").write_text('{"tokens": 1', encoding="utf-8")
    with pytest.raises(UserError, match=r"metrics\.jsonl: line 1: expected a JSON object"):
        get("frontier").make(Material(runs, (), tmp_path), {})


# --- The optimum ----------------------------------------------------------------------------------


def test_the_optimum_and_its_rule_are_those_of_the_table():
    block = optimum(sweep(seeds=2, noise=5e-4))
    json.dumps(block, allow_nan=False)
    for size in block["sizes"]:
        best = 5e-3 * (size["N"] / 1e5) ** -0.3
        assert size["optimum"] == pytest.approx(best, rel=0.05)
        low, high = size["interval"]
        assert low < best < high
        # ln 1.01 = 0.01 ln(x / best)^2 bounds the basin.
        width = np.exp(np.sqrt(np.log(1.01) / 0.01))
        assert size["basin"][1] == pytest.approx(best * width, rel=0.1)
    rule = block["rule"]
    assert set(rule) == {"value", "at", "exponent", "of"} and rule["of"] == "N"
    assert rule["exponent"] == pytest.approx(-0.3, abs=0.02)
    assert rule["value"] == pytest.approx(5e-3 * (rule["at"] / 1e5) ** -0.3, rel=0.03)
    low, high = block["law"]["interval"]
    assert low < -0.3 < high


def test_the_rule_is_one_that_a_study_file_takes():
    from scalelab.config.schema import PowerRule

    rule = PowerRule(**optimum(sweep())["rule"])
    assert rule.value * (1e5 / rule.at) ** rule.exponent == pytest.approx(5e-3, rel=0.01)


def test_another_axis_is_profiled_out():
    block = optimum(sweep(), axis="batch_tokens")
    assert [size["optimum"] for size in block["sizes"]] == pytest.approx([1000] * 4, rel=1e-3)
    assert all("lr" in point["at"] for point in block["sizes"][0]["points"])
    assert block["rule"]["exponent"] == pytest.approx(0, abs=1e-3)


def test_a_best_value_at_an_end_is_open_and_says_what_to_add():
    runs = sweep()
    small = runs[runs["lr"] < 3e-3]
    block = optimum(small)
    first = block["sizes"][0]
    assert first["optimum"] is None and first["open"] == "high" and first["basin"][1] is None
    assert first["add"] == pytest.approx(4e-3)
    assert any("N = 1e+04" in text and "add 0.004" in text for text in block["warnings"])
    assert block["rule"] is None and "no rule" in block["warnings"][-1]


def test_a_value_that_diverged_bounds_the_next_try():
    runs = sweep()
    high = runs["lr"] > 3e-3
    runs.loc[high, "status"] = "diverged"
    runs.loc[high, "loss_nats"] = np.nan
    first = optimum(runs)["sizes"][0]
    assert first["failed_at"][0] == pytest.approx(4e-3)
    assert first["add"] == pytest.approx(np.sqrt(2e-3 * 4e-3))


def test_one_size_has_an_optimum_and_no_rule():
    block = optimum(sweep(sizes=(1e5,)))
    assert block["sizes"][0]["optimum"] == pytest.approx(5e-3, rel=0.01)
    assert block["rule"] is None and block["path"] == []


def test_each_text_has_an_optimum_of_its_own():
    """Their losses are not compared: they are read on different texts."""
    runs = pd.concat(
        [
            sweep(exponent=exponent).assign(mixture=name, eval_text_sha256=name)
            for name, exponent in (("english", -0.3), ("cpp", 0.2))
        ],
        ignore_index=True,
    )
    with pytest.raises(UserError, match="eval_text_sha256"):
        optimum(runs)
    found = {name: optimum(runs, where={"mixture": name}) for name in ("english", "cpp")}
    assert found["english"]["rule"]["exponent"] == pytest.approx(-0.3, abs=0.02)
    assert found["cpp"]["rule"]["exponent"] == pytest.approx(0.2, abs=0.02)
    assert found["cpp"]["cost"]["runs"] == len(runs) / 2
    told = sentences({"answer": "optimum", **found["cpp"], "where": {"mixture": "cpp"}})
    assert told[0].startswith("mixture cpp: The best lr")


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ("cpp", "where is 'cpp': expected columns and their values"),
        ({"mixtur": "cpp"}, "where: .*'mixtur'"),
        ({"mixture": "go"}, "where: no run has 'go' in the column mixture, found cpp"),
    ],
)
def test_a_part_that_is_not_there_is_refused(where, sentence):
    with pytest.raises(UserError, match=sentence):
        optimum(sweep().assign(mixture="cpp"), where=where)


def test_shapes_of_nearly_one_size_are_one_and_their_spread_is_said():
    rows = [
        (1e5 * (1 + 0.03 * (-1) ** k), 1e6, law(1e5, 1e6) * np.exp(0.01 * np.log(depth / 4) ** 2),
         {"depth": depth, "width": 60})
        for k, depth in enumerate((1, 2, 4, 8, 16))
    ]  # fmt: skip
    block = optimum(table(rows), axis="depth")
    assert len(block["sizes"]) == 1
    assert block["sizes"][0]["optimum"] == pytest.approx(4, rel=0.01)
    assert any("differ by 6.2% in N" in text for text in block["warnings"])


def test_one_block_is_the_least_depth_there_is():
    rows = [(1e5, 1e6, 3 + 0.1 * depth, {"depth": depth}) for depth in (1, 2, 3)]
    block = optimum(table(rows), axis="depth")
    assert any("one block, the least depth there is" in text for text in block["warnings"])
    assert not any("add 0.5" in text for text in block["warnings"])


def test_vocabularies_compare_in_bits_per_byte_alone():
    rows = [
        (1e5, 1e6, law(1e5, 1e6), {"vocab": v, "corpus": f"c{v}", "eval_text_sha256": f"t{v}",
                                   "bits_per_byte": 1.5 * np.exp(0.02 * np.log(v / 1000) ** 2)})
        for v in (250, 500, 1000, 2000, 4000)
    ]  # fmt: skip
    block = optimum(table(rows), axis="vocab", y="bits_per_byte")
    assert block["sizes"][0]["optimum"] == pytest.approx(1000, rel=1e-3)
    with pytest.raises(UserError, match="expected bits_per_byte"):
        optimum(table(rows), axis="vocab")


def test_vocabularies_of_equal_flops_are_one_sweep_though_their_tokens_differ():
    rows = [
        (1e5, 1e6 * 500 / v, law(1e5, 1e6), {"vocab": v, "C": 6e11 * (1 + 0.01 * k),
                                   "bits_per_byte": 1.5 * np.exp(0.02 * np.log(v / 1000) ** 2)})
        for k, v in enumerate((250, 500, 1000, 2000, 4000))
    ]  # fmt: skip
    block = optimum(table(rows), axis="vocab", y="bits_per_byte")
    assert len(block["sizes"]) == 1
    assert block["sizes"][0]["optimum"] == pytest.approx(1000, rel=1e-3)
    with pytest.raises(UserError, match="found 1 at most"):
        optimum(table(rows).drop(columns="C"), axis="vocab", y="bits_per_byte")


@pytest.mark.parametrize("seed", range(3))
def test_fieller_holds_the_vertex_about_as_often_as_it_says(seed):
    random = np.random.default_rng(seed)
    u = np.linspace(-1, 1, 5)
    held = 0
    for _ in range(400):
        found = parabola(u, 0.05 * (u - 0.2) ** 2 + 0.005 * random.standard_normal(5))
        ends = (None, None) if found is None else found.interval(found.square / 2, 2, 0.95)
        held += (ends[0] is None or ends[0] < 0.2) and (ends[1] is None or ends[1] > 0.2)
    assert held / 400 > 0.92


# --- What cannot be answered ----------------------------------------------------------------------


def test_a_sweep_in_which_every_run_diverged_is_a_sentence_in_failed():
    runs = sweep(sizes=(1e5,)).assign(status="diverged", loss_nats=np.nan, reason="not finite")
    asked = [{"answer": "optimum", "axis": "lr"}, {"answer": "frontier"}]
    laws = fit_study(runs, [], "sweep", asked)
    json.dumps(laws, allow_nan=False)
    assert laws["answers"] == [] and laws["fits"] == []
    assert [item["answer"] for item in laws["failed"]] == ["optimum", "frontier"]
    assert "no run of 35 ended well" in laws["failed"][0]["reason"]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ([{"answer": "optimun", "axis": "lr"}], "did you mean 'optimum'"),
        ([{"answer": "optimum"}], "answer optimum needs the key axis"),
        ([{"answer": "optimum", "axis": "lr", "levle": 0.9}], "did you mean 'level'"),
        (["optimum"], "expected keys such as answer: frontier"),
    ],
)
def test_an_answer_that_does_not_exist_is_refused(asked, sentence):
    with pytest.raises(UserError, match=sentence):
        fit_study(sweep(sizes=(1e5,)), [], "sweep", asked)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"axis": "lr", "level": 1.5}, "level is 1.5"),
        ({"axis": "rate"}, "column 'rate' is missing"),
        ({"axis": "seed"}, "expected more than 0|needs 3 or more"),
    ],
)
def test_a_setting_that_cannot_be_is_a_sentence(settings, sentence):
    runs = sweep(sizes=(1e5,), seeds=2)
    laws = fit_study(runs, [], "sweep", [{"answer": "optimum", **settings}])
    (failed,) = laws["failed"]
    assert failed["axis"] == settings["axis"]
    with pytest.raises(UserError, match=sentence):
        raise UserError(failed["reason"])


@pytest.mark.parametrize("name", names())
def test_every_answer_of_a_table_without_losses_is_a_sentence(name):
    runs = sweep(sizes=(1e5,)).assign(loss_nats=np.nan)
    settings = dict.fromkeys(get(name).required, "lr")
    laws = fit_study(runs, [], "study", [{"answer": name, **settings}])
    assert laws["answers"] == [] and len(laws["failed"]) == 1


def test_the_command_answers_without_fits(tmp_path, capsys):
    import argparse

    from scalelab.laws import command

    sweep(seeds=2, noise=1e-3).to_csv(tmp_path / "runs.csv", index=False)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    words = [str(tmp_path / "runs.csv"), "--fits", "[]", "--study", "sweep"]
    words += ["--answers", '[{"answer": "optimum", "axis": "lr"}]']
    words += ["--runs-root", str(tmp_path), "--json", str(tmp_path / "laws.json")]
    assert command.run(parser.parse_args(words)) == 0
    laws = json.loads((tmp_path / "laws.json").read_text())
    assert laws["answers"][0]["rule"]["of"] == "N"
    assert "in a study file: {value:" in capsys.readouterr().out
