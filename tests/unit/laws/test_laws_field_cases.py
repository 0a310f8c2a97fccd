"""What went wrong for others (cases F01 to F25), met by `scalelab fit` on a file.

Here: F03 F04 F05 F06 F07 F08 F09 F10 F11 F12 F13 F14 F16 F17 F18 F19 F22 F23 F24 F25.

Cases whose whole test is elsewhere:

- F01 the scale of the objective, rows written a hundred times: test_laws_estimates.py
- F02 published constants and their digits: test_laws_table.py and test_laws_published.py
- F15 starts, order of rows: test_laws_estimates.py; the oracle's minimum in tests/oracles
- F04 tied matrices of imported checkpoints: test_library_import_trainer.py
- F20 each standard error belongs to its coefficient: test_laws_intervals.py, test_laws_forms.py
- F21 a profile without a minimum inside its sizes: test_laws_isoflop.py
- E05 rows of two evaluation contexts: test_laws_bad_input.py
"""

import json
from pathlib import Path

import numpy as np
import pytest

from scalelab import laws
from scalelab.cli import main
from scalelab.plan.families import Shape, count

SIZES = [100000, 300000, 1000000, 3000000, 10000000, 30000000]
LOSSES = [5.1740, 4.3637, 3.6974, 3.2417, 2.8670, 2.6107]
NATS = ("--unit", "nats", "--x", "params")


class Case:
    """A file of runs, what `scalelab fit` said about it, and the JSON it wrote."""

    def __init__(self, folder: Path, capsys) -> None:
        self.path, self.out, self.capsys = folder / "runs.csv", folder / "fit.json", capsys

    def write(self, header: str, rows) -> "Case":
        lines = [header, *(",".join(str(cell) for cell in row) for row in rows)]
        self.path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return self

    def ladder(self, losses=LOSSES, sizes=SIZES, header="run,params,loss") -> "Case":
        """FIX-A, or other losses and sizes."""
        names = [f"r{place + 1}" for place in range(len(sizes))]
        return self.write(header, zip(names, sizes, losses, strict=True))

    def fit(self, *flags: str) -> dict:
        self.out.unlink(missing_ok=True)
        assert main(["fit", str(self.path), *flags, "--json", str(self.out)]) == 0
        self.told = self.capsys.readouterr().out
        return json.loads(self.out.read_text(encoding="utf-8"))

    def refused(self, *flags: str) -> str:
        self.out.unlink(missing_ok=True)
        assert main(["fit", str(self.path), *flags, "--json", str(self.out)]) == 2
        assert not self.out.exists()
        return self.capsys.readouterr().err


@pytest.fixture
def case(tmp_path, capsys) -> Case:
    return Case(tmp_path, capsys)


def line(block: dict, name: str) -> dict:
    return next(row for row in block["checklist"] if row["check"] == name)


# (width, layers) of GPT-2 shapes with a vocabulary of 50257 and a context of 256.
SHAPES = {(32, 2): 3.4762, (64, 3): 3.1990, (128, 4): 2.9559, (256, 6): 2.7254, (512, 8): 2.5097}


def test_f03_the_exponent_depends_on_what_is_counted_and_the_fit_says_which(case):
    counts = [count(Shape("gpt2", depth, width, 4, 256, 50257)) for width, depth in SHAPES]
    rows = [(c.n, c.n_total, c.n_embedding) for c in counts]
    table = [(*row, loss) for row, loss in zip(rows, SHAPES.values(), strict=True)]
    case.write("N,N_total,N_embedding,loss_nats", table)
    total, body = case.fit("--x", "N_total"), case.fit("--x", "N")
    assert total["params"]["alpha"] == pytest.approx(0.250, abs=1e-3)
    assert total["params"]["E"] == pytest.approx(1.800, abs=0.01)
    assert body["params"]["alpha"] == pytest.approx(0.047, abs=1e-3)
    assert body["params"]["E"] == pytest.approx(0, abs=1e-3)
    assert (total["convention"], body["convention"]) == (
        "all parameters, tied weights once",
        "non-embedding parameters",
    )
    assert not line(total, "embedding share")["ok"]
    case.write("params,loss_nats", [(row[1], row[3]) for row in table])
    assert "'params' does not say whether embeddings are counted" in case.refused()


def test_f04_a_tied_matrix_counts_once():
    small, base = (
        count(Shape("gpt2", 4, 128, 4, 256, 50257)),
        count(Shape("gpt2", 12, 768, 12, 1024, 50257)),
    )
    assert (small.n_total, small.n) == (7_259_008, 793_344)
    assert small.n_total + small.token_embedding == 13_691_904, "the sum of the state dict"
    assert (base.n_total, base.n) == (124_439_808, 85_056_000)


def test_f05_the_head_costs_as_much_tied_as_untied_and_the_look_up_nothing():
    counts = count(Shape("gpt2", 4, 128, 4, 256, 50257))
    head, blocks, attention = 38_597_376, 4_718_592, 12 * 4 * 256 * 128
    assert counts.training_flops == head + blocks + attention
    assert (head + blocks) / blocks > 9


def test_f06_learning_rate_trials_leave_the_best_of_their_cell(case):
    names, sizes = [f"r{i}" for i in range(1, 10)], [*SIZES, *[1000000] * 3]
    losses = [*LOSSES, 3.80, 4.10, 4.60]
    block = case.write("run,params,loss", zip(names, sizes, losses, strict=True)).fit(*NATS)
    assert block["params"]["alpha"] == pytest.approx(0.250, abs=1e-3)
    assert "3 rows not best of their cell (r7, r8, r9)" in case.told
    assert block["set_aside"]["not best of their cell"]["rows"] == 3
    naive = case.fit(*NATS, "--cell", "mean")
    assert naive["params"]["alpha"] < 0.2


def test_f07_an_undertuned_largest_size_is_named(case):
    block = case.ladder([*LOSSES[:5], 2.8607]).fit(*NATS)
    assert block["params"]["alpha"] > 0.33 and block["params"]["E"] > 2.3
    assert not line(block, "leave one out")["ok"]
    assert "LOOK leave one out: r6 (params 3e+07) stands off the curve" in case.told


def test_f08_a_diverged_run_is_left_out_by_name(case):
    status = ["ok"] * 4 + ["diverged", "ok"]
    losses = [*LOSSES[:4], 7.9, LOSSES[5]]
    rows = zip("abcdef", SIZES, losses, status, strict=True)
    block = case.write("run,params,loss,status", rows).fit(*NATS)
    assert block["params"]["alpha"] == pytest.approx(0.250, abs=0.002)
    assert "1 left out: e (diverged)" in case.told
    # Without a status the fit does not pass for a law.
    block = case.ladder(losses).fit(*NATS)
    assert any("do not follow this law" in text for text in block["warnings"])
    assert block["intervals"]["alpha"][1] is None
    # One run fell and the others did not: A would be beyond e^60.
    text = case.ladder([9.0, 3.0, 3.0001, 2.9999, 3.0, 2.9998]).refused(*NATS)
    assert "power_offset runs away (A = " in text


RAY = [1e6, 3e6, 1e7, 3e7, 1e8, 3e8]
RAY_LOSSES = [9.1052, 6.9679, 5.3306, 4.2871, 3.4859, 2.9740]


@pytest.mark.parametrize("step", [1, 4096])
def test_f09_tokens_bound_to_parameters_are_one_variable(case, step):
    """Also where whole steps keep the ratio from being exact."""
    rows = [(n, 20 * n // step * step, v) for n, v in zip(RAY, RAY_LOSSES, strict=True)]
    block = case.write("params,tokens,loss", rows).fit(*NATS, "--law", "chinchilla")
    assert block["law"] == "power_offset" and block["x"] == "N"
    assert "N and D are one variable in these rows" in block["warnings"][0]


def test_f09_a_term_that_is_fixed_is_told_from_the_other(case):
    rows = [(n, 20 * n, v) for n, v in zip(RAY, RAY_LOSSES, strict=True)]
    case.write("N,D,loss_nats", rows)
    block = case.fit("--law", "chinchilla", "--fix", "B=410.7", "--fix", "beta=0.28")
    assert block["params"] == pytest.approx(
        {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28}, rel=1e-3
    )
    assert "what is fixed or tied alone tells their terms apart" in block["warnings"][0]


@pytest.mark.parametrize("unique", [None, 10**8])
def test_f09_a_law_without_another_to_fall_back_on_is_refused(case, unique):
    """Also where the third column holds one value."""
    rows = [(n, 20 * n, unique or 20 * n, v) for n, v in zip(RAY, RAY_LOSSES, strict=True)]
    case.write("N,D,U,loss_nats", rows)
    text = case.refused("--law", "data_constrained")
    assert "N and D are one variable in these rows, so data_constrained is not determined" in text


def test_f10_a_floor_that_the_data_do_not_set_is_flagged(case):
    block = case.ladder([5.0238, 4.4033, 3.8109, 3.3402, 2.8909, 2.5338]).fit(*NATS)
    assert block["params"]["E"] == pytest.approx(0.0003, abs=3e-4)
    assert block["intervals"]["E"][0] == 0 and "interval contains 0" in case.told
    (rival,) = [row for row in block["alternatives"] if row["law"] == "power"]
    assert rival["aicc"] < block["aicc"] and rival["params"]["A"] == pytest.approx(20.0, abs=0.01)


def test_f11_a_loss_below_a_fixed_floor_is_named(case):
    text = case.ladder([*LOSSES[:3], 1.50, *LOSSES[4:]]).refused(*NATS, "--fix", "E=1.69")
    assert "loss 1.5 of r4 (params 3e+06) is below the fixed E 1.69" in text


def test_f12_as_many_sizes_as_parameters_leave_nothing_to_judge_by(case):
    text = case.ladder(LOSSES[::2], SIZES[::2]).refused(*NATS)
    assert "3 sizes, 3 parameters: no degrees of freedom" in text


def test_f13_order_and_repeats_do_not_matter_and_one_size_is_refused(case):
    forward = case.ladder().fit(*NATS)
    rows = list(zip([f"r{i + 1}" for i in range(6)], SIZES, LOSSES, strict=True))
    backward = case.write("run,params,loss", rows[::-1]).fit(*NATS)
    assert backward["params"] == pytest.approx(forward["params"], rel=1e-9)
    repeated = case.write("run,params,loss", [*rows, rows[2]]).fit(*NATS)
    assert repeated["params"] == forward["params"]
    assert "1 row repeats another and is counted once" in case.told
    text = case.ladder(LOSSES[:4], [1000000] * 4).refused(*NATS)
    assert "column params holds one value" in text


def test_f14_a_loss_that_rises_is_no_law(case):
    text = case.ladder([3.0, 3.1, 3.2, 3.3, 3.4, 3.5]).refused(*NATS)
    assert "loss does not fall with params: no law fitted" in text


def test_f16_coefficients_are_in_natural_units_and_predict_as_stored(case, tmp_path):
    logs = {"a": 6.255414, "b": 7.3049974, "e": 0.6254804}
    params = {
        "E": np.exp(logs["e"]),
        "A": np.exp(logs["a"]),
        "B": np.exp(logs["b"]),
        "alpha": 0.3526596,
        "beta": 0.3526596,
    }
    assert [params[k] for k in "ABE"] == pytest.approx([520.825, 1487.716, 1.86914], abs=5e-4)
    path, out = tmp_path / "law.json", tmp_path / "predicted.json"
    path.write_text(json.dumps({"law": "chinchilla", "params": params}), encoding="utf-8")
    assert main(["predict", str(path), "--at", "N=1e9,D=2e10", "--json", str(out)]) == 0
    (row,) = json.loads(out.read_text(encoding="utf-8"))["predictions"]
    x = np.array([[1e9, 2e10]])
    assert row["predicted_nats"] == laws.predict(json.loads(path.read_text("utf-8")), x)[0]


def test_f17_bits_keep_the_exponent_and_a_mixture_is_refused(case):
    bits = [loss / np.log(2) for loss in LOSSES]
    block = case.ladder(bits).fit(*NATS)
    assert block["params"] == pytest.approx({"E": 2.5966, "A": 86.54, "alpha": 0.24997}, rel=2e-4)
    block = case.fit("--unit", "bits", "--x", "params")
    assert block["params"]["E"] == pytest.approx(1.7998, abs=2e-4)
    text = case.ladder([*LOSSES[:3], *bits[3:]]).refused(*NATS)
    assert "units seem mixed" in text and "r4" in text


def test_f18_perplexity_is_read_as_such_or_refused(case):
    values = [176.62, 78.547, 40.342, 25.577, 17.584, 13.609]
    block = case.ladder(values, header="run,params,ppl").fit("--x", "params")
    assert block["params"]["alpha"] == pytest.approx(0.250, abs=1e-3)
    text = case.ladder(values).refused(*NATS)
    assert "give perplexity as the unit" in text


def test_f19_resamples_that_failed_are_counted_and_the_seed_repeats(case):
    flags = (*NATS, "--intervals", "bootstrap", "--resamples", "1000", "--seed", "0")
    first, second = case.ladder().fit(*flags), case.fit(*flags)
    counts = first["bootstrap"]
    assert counts["n_ok"] + counts["n_failed"] + counts["n_saturated"] == 1000
    assert 8 <= counts["n_failed"] <= 40 and 190 <= counts["n_saturated"] <= 275
    assert first == second and counts["seed"] == 0
    assert "profile likelihood" in first["interval_method"]


def test_f22_the_last_evaluation_counts_and_not_the_lowest(case):
    rows = [
        (f"r{place}", size, step, loss + gap)
        for place, (size, loss) in enumerate(zip(SIZES, LOSSES, strict=True))
        for step, gap in ((100, 0.15), (200, -0.05), (300, 0.0))
    ]
    block = case.write("run_id,params,step,val_loss", rows).fit(*NATS)
    assert [row["loss_nats"] for row in block["points"]] == pytest.approx(LOSSES)
    assert "12 rows earlier checkpoints of their run" in case.told


def test_f23_the_checkpoints_of_one_run_are_one_run(case):
    rows = [("a", 1000000, 10**6 * i, 5 * (100 * i) ** -0.1) for i in range(1, 21)]
    case.write("run_id,params,tokens,loss", rows)
    for x, law in (
        ("params", "power_offset"),
        ("tokens", "power_offset"),
        ("params", "chinchilla"),
    ):
        text = case.refused("--unit", "nats", "--x", x, "--law", law)
        assert "20 rows, 1 run: not enough runs" in text


def test_f24_large_sizes_change_the_factor_alone(case):
    block = case.ladder(sizes=[size * 10**6 for size in SIZES]).fit(*NATS)
    truth = {"E": 1.7998, "A": 1896.09, "alpha": 0.24997}
    assert block["params"] == pytest.approx(truth, rel=2e-4)


@pytest.mark.parametrize("size", ["0", "-5", "1,000,000", "inf", "", "12x"])
def test_f25_a_size_that_is_no_number_is_named_with_file_line_and_column(case, size):
    sizes = [*SIZES[:2], size, *SIZES[3:]]
    text = case.ladder(sizes=sizes).refused(*NATS)
    assert "runs.csv, line 4" in text and (size == "1,000,000" or "column 'params'" in text)


def test_f25_a_blank_loss_is_named_and_a_suffix_is_a_number(case):
    text = case.ladder([*LOSSES[:2], "", *LOSSES[3:]]).refused(*NATS)
    assert "runs.csv, line 4, column 'loss': found an empty cell" in text
    block = case.ladder(sizes=[*SIZES[:5], "125M"], losses=[*LOSSES[:5], 2.3674]).fit(*NATS)
    assert block["points"][-1]["params"] == 125e6
