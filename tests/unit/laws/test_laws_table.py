"""Reading CSV files of runs, the verb `fit`, and the JSON it writes."""

import argparse
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from scalelab import laws
from scalelab.errors import UserError
from scalelab.laws import command

BODY = [("100000", "5.1740"), ("300000", "4.3637"), ("1000000", "3.6974")]
BODY += [("3000000", "3.2417"), ("10000000", "2.8670"), ("30000000", "2.6107")]


def write(folder, header="N,loss_nats", rows=BODY, name="runs.csv"):
    text = "\n".join([header, *(",".join(row) for row in rows)]) + "\n"
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def arguments(*words) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def test_sizes_with_suffixes_and_exponents_are_numbers(tmp_path):
    rows = [("70M", "1.4T", "2.5"), ("1e6", "20k", "3"), ("2.5B", "3.", "2"), ("7G", "1E+3", "1")]
    table = laws.read_runs(write(tmp_path, "N,tokens,loss_nats", rows))
    assert table["N"].tolist() == [7e7, 1e6, 2.5e9, 7e9]
    assert table["D"].tolist() == [1.4e12, 2e4, 3.0, 1e3]
    assert table["line"].tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize(
    "header,ours",
    [
        ("non_embedding_params", "N"),
        ("Non-Embedding Params", "N"),
        ("total_params", "N_total"),
        ("Training FLOPs", "C"),
        ("tokens", "D"),
    ],
)
def test_headers_that_say_what_they_count_are_recognised(tmp_path, header, ours):
    table = laws.read_runs(write(tmp_path, f"{header},loss_nats"))
    assert table[ours].iloc[0] == 1e5


def test_bits_and_perplexity_are_converted_on_reading(tmp_path):
    nats = np.array([float(loss) for _, loss in BODY])
    bits = [(n, f"{v:.10f}") for (n, _), v in zip(BODY, nats / np.log(2), strict=True)]
    ppl = [(n, f"{v:.10f}") for (n, _), v in zip(BODY, np.exp(nats), strict=True)]
    for header, unit, rows in (
        ("N,loss_bits", None, bits),
        ("N,loss", "bits", bits),
        ("N,ppl", None, ppl),
        ("N,loss", "perplexity", ppl),
        ("N,loss", "nats", BODY),
    ):
        table = laws.read_runs(write(tmp_path, header, rows), unit=unit)
        assert table["loss_nats"].to_numpy() == pytest.approx(nats, rel=1e-9)
    assert laws.fit("power_offset", table).params["alpha"] == pytest.approx(0.25, abs=1e-4)


def test_a_loss_without_a_unit_is_refused(tmp_path):
    with pytest.raises(UserError, match="does not say its unit"):
        laws.read_runs(write(tmp_path, "N,loss"))
    with pytest.raises(UserError, match="holds perplexity, but the unit given is nats"):
        laws.read_runs(write(tmp_path, "N,ppl"), unit="nats")


def test_a_column_of_units_is_obeyed_and_a_mixed_one_refused(tmp_path):
    rows = [(*row, "bits") for row in BODY]
    table = laws.read_runs(write(tmp_path, "N,loss,unit", rows))
    assert table["loss_nats"].iloc[0] == pytest.approx(5.1740 * np.log(2))
    mixed = [(*row, "bits" if place > 2 else "nats") for place, row in enumerate(BODY)]
    with pytest.raises(UserError, match=r"mixes units \(bits, nats\)"):
        laws.read_runs(write(tmp_path, "N,loss,unit", mixed))


@pytest.mark.parametrize("cell", ["0", "-5", "12x", "", "inf", "nan", "1_000", "M"])
def test_a_size_that_is_no_number_is_named_with_file_line_and_column(tmp_path, cell):
    rows = [*BODY[:2], (cell, "3.6974"), *BODY[3:]]
    with pytest.raises(UserError, match=r"runs.csv, line 4, column 'N': found"):
        laws.read_runs(write(tmp_path, rows=rows))


def test_bits_per_byte_may_be_missing_for_all_runs_but_not_for_one(tmp_path):
    rows = [(*row, "") for row in BODY]
    table = laws.read_runs(write(tmp_path, "N,loss_nats,bits_per_byte", rows))
    assert table["bits_per_byte"].isna().all()
    assert laws.fit("power_offset", table).params["alpha"] > 0
    rows[0] = (*BODY[0], "1.5")
    with pytest.raises(UserError, match="line 3, column 'bits_per_byte': found an empty cell"):
        laws.read_runs(write(tmp_path, "N,loss_nats,bits_per_byte", rows))


def test_thousands_separators_are_refused_quoted_or_not(tmp_path):
    with pytest.raises(UserError, match="line 4: 4 cells, the header has 2"):
        laws.read_runs(write(tmp_path, rows=[*BODY[:2], ("1,000,000", "3.6974")]))
    with pytest.raises(UserError, match="found '1,000,000'"):
        laws.read_runs(write(tmp_path, rows=[*BODY[:2], ('"1,000,000"', "3.6974")]))


def test_a_blank_loss_is_an_error_unless_the_run_failed(tmp_path):
    blank = [(*BODY[0], "ok"), (BODY[1][0], "", "ok")]
    with pytest.raises(UserError, match="line 3, column 'loss_nats': found an empty cell"):
        laws.read_runs(write(tmp_path, "N,loss_nats,status", blank))
    blank[1] = (BODY[1][0], "", "diverged")
    table = laws.read_runs(write(tmp_path, "N,loss_nats,status", blank))
    assert np.isnan(table["loss_nats"].iloc[1])


@pytest.mark.parametrize("tokens", ["0", "", "nan"])
def test_a_run_that_failed_in_its_first_step_has_seen_no_tokens(tmp_path, tokens):
    header = "N,D,bits_per_byte,loss_nats,status"
    rows = [(size, "4000000", "1.5", loss, "ok") for size, loss in BODY]
    rows[1] = (BODY[1][0], tokens, "", "", "oom")
    table = laws.read_runs(write(tmp_path, header, rows))
    block = laws.fit("power", table, x="N").block
    assert [row["reason"] for row in block["excluded"]] == ["oom"]
    rows[1] = (BODY[1][0], tokens, "1.5", BODY[1][1], "ok")
    with pytest.raises(UserError, match="line 3, column 'D': found"):
        laws.read_runs(write(tmp_path, header, rows))
    rows[1] = (BODY[1][0], "-5", "", "", "oom")
    with pytest.raises(UserError, match="line 3, column 'D': found '-5'"):
        laws.read_runs(write(tmp_path, header, rows))


def test_a_loss_that_is_no_number_needs_a_status_that_says_why(tmp_path):
    rows = [(f"r{i}", *row, "ok") for i, row in enumerate(BODY)]
    rows[4] = ("r4", "10000000", "inf", "ok")
    with pytest.raises(UserError, match="line 6, column 'loss_nats': found 'inf'"):
        laws.read_runs(write(tmp_path, "run,N,loss_nats,status", rows))
    rows[4] = ("r4", "10000000", "inf", "diverged")
    table = laws.read_runs(write(tmp_path, "run,N,loss_nats,status", rows))
    assert laws.fit("power_offset", table).block["excluded"][0]["label"] == "r4"


@pytest.mark.parametrize("status", ["ok", "finished", "Completed", ""])
def test_words_for_success_are_understood(status, tmp_path):
    rows = [(*row, status) for row in BODY]
    table = laws.read_runs(write(tmp_path, "N,loss_nats,status", rows))
    assert laws.fit("power_offset", table).block["excluded"] == []


@pytest.mark.parametrize(
    "content,message",
    [
        (b"", "is empty"),
        (b"N,loss_nats\n", "no rows"),
        (b"N,loss_nats\n1,\xff\n", "not UTF-8"),
        (b"N,N,loss_nats\n1,1,2\n", "'N' appears twice"),
        (b"N,non_embedding_params,loss_nats\n1,1,2\n", "both 'N' and 'non_embedding_params'"),
    ],
)
def test_files_that_cannot_be_read_say_why(tmp_path, content, message):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        laws.read_runs(path)


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(UserError, match="is a folder"):
        laws.read_runs(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        laws.read_runs(tmp_path / "none.csv")


def test_a_byte_order_mark_and_semicolons_are_read(tmp_path):
    path = tmp_path / "excel.csv"
    path.write_text("\ufeffN;loss_nats\n1e6;3.0\n", encoding="utf-8")
    assert laws.read_runs(path)["N"].tolist() == [1e6]


def test_the_verb_refuses_a_bare_params_column_until_it_is_named(tmp_path):
    path = write(tmp_path, "params,loss")
    out = tmp_path / "fit.json"
    with pytest.raises(UserError, match="name it as x"):
        command.run(arguments(path, "--unit", "nats", "--json", out))
    assert not out.exists()
    assert command.run(arguments(path, "--unit", "nats", "--x", "params", "--json", out)) == 0
    block = json.loads(out.read_text(encoding="utf-8"))
    assert block["formula"] == "L = E + A params^-alpha"
    assert "not known" in block["convention"]
    assert block["params"]["alpha"] == pytest.approx(0.25, abs=1e-4)


def test_the_verb_maps_two_columns_for_a_law_of_two(tmp_path, capsys):
    pairs = [(n, d) for n in (1e6, 1e7, 1e8) for d in (2e7, 2e8, 2e9)]
    rows = [
        (f"{n:g}", f"{d:g}", f"{1.69 + 406.4 / n**0.34 + 410.7 / d**0.28:.6f}") for n, d in pairs
    ]
    path = write(tmp_path, "params,seen,loss", rows)
    words = ["--unit", "nats", "--law", "chinchilla", "--x", "params,seen"]
    command.run(arguments(path, *words))
    assert "L = E + A N^-alpha + B D^-beta" in capsys.readouterr().out
    # One header stands for the first x; the other is looked for.
    with pytest.raises(UserError, match="'D' is missing"):
        command.run(arguments(path, *words[:-1], "params"))
    with pytest.raises(UserError, match="needs 2 x columns"):
        command.run(arguments(path, *words[:-1], "params,seen,loss"))


def test_a_file_predicts_what_its_own_digits_say(tmp_path):
    where = pd.DataFrame({"N": [70e9], "D": [1.4e12]})
    printed = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
    exact = {
        "E": np.exp(0.5267228),
        "A": np.exp(6.0073404),
        "B": np.exp(6.0179186),
        "alpha": 0.33917084,
        "beta": 0.2849083,
    }
    for params, loss in ((printed, 1.93665), (exact, 1.92085)):
        text = json.dumps({"law": "chinchilla", "params": params})
        assert laws.predict(json.loads(text), where)[0] == pytest.approx(loss, abs=1e-5)


def test_logs_of_coefficients_are_given_in_natural_units_and_survive_the_file(tmp_path):
    table = laws.read_runs(write(tmp_path))
    result = laws.fit("power_offset", table)
    restored = json.loads(json.dumps(result.to_json()))
    assert np.array_equal(laws.predict(restored, [1e5, 1e9]), result.predict([1e5, 1e9]))
    assert result.predict(1e6)[0] == pytest.approx(3.6974, abs=1e-4)
    frame = laws.to_frame(restored)
    assert frame["parameter"].tolist() == ["E", "A", "alpha"]
    assert frame["value"].tolist() == list(result.params.values())
    assert r"\alpha = 0.25" in result.to_latex()


@pytest.mark.parametrize("fit", [{}, {"law": "power"}, {"law": "power", "params": {"A": 1.0}}])
def test_json_that_is_no_fit_is_refused(fit):
    with pytest.raises(UserError, match="fit"):
        laws.predict(fit, 1e6)


def test_predicting_at_a_size_that_is_no_size_is_refused():
    fit = {"law": "power", "params": {"A": 1.0, "alpha": 0.1}}
    for x in (0.0, [-1.0], [np.nan]):
        with pytest.raises(UserError, match="positive"):
            laws.predict(fit, x)
    with pytest.raises(UserError, match="column 'N' is missing"):
        laws.predict(fit, pd.DataFrame({"D": [1.0]}))


def study_table() -> pd.DataFrame:
    rows = pd.DataFrame({"N": [float(n) for n, _ in BODY]})
    rows["loss_nats"] = [float(loss) for _, loss in BODY]
    rows["N_total"] = rows["N"] * 1.1
    return rows


def test_a_study_keeps_its_fits_in_order_with_provenance(tmp_path):
    fits = [{"law": "power_offset", "x": "N"}, {"law": "power", "x": "N_total", "delta": None}]
    content = laws.fit_study(study_table(), fits, "micro")
    assert [block["law"] for block in content["fits"]] == ["power_offset", "power"]
    assert content["fits"][1]["convention"] == "all parameters, tied weights once"
    assert content["study"] == "micro" and content["failed"] == []
    assert content["provenance"]["data_hash"] and content["provenance"]["code"]
    json.dumps(content, allow_nan=False)


def test_a_study_lists_a_second_fit_that_cannot_be_made_but_stops_at_the_first():
    fits = [{"law": "power_offset"}, {"law": "chinchilla"}]
    content = laws.fit_study(study_table(), fits, "micro")
    assert "'D' is missing" in content["failed"][0]["reason"]
    with pytest.raises(UserError, match="study micro, chinchilla: column 'D' is missing"):
        laws.fit_study(study_table(), fits[::-1], "micro")
    with pytest.raises(UserError, match="key 'lawx' is unknown, did you mean 'law'"):
        laws.fit_study(study_table(), [{"law": "power", "lawx": 1}], "micro")


def test_the_verb_writes_a_studys_laws(tmp_path, capsys):
    path, out = write(tmp_path), tmp_path / "laws.json"
    fits = json.dumps([{"law": "power_offset"}, {"law": "power"}])
    command.run(arguments(path, "--fits", fits, "--study", "micro", "--json", out))
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["study"] == "micro" and len(content["fits"]) == 2
    assert capsys.readouterr().out.count("degrees of freedom, residual") == 2
    with pytest.raises(UserError, match="expected JSON"):
        command.run(arguments(path, "--fits", "[nonsense"))


def test_importing_the_laws_loads_neither_torch_nor_pandas():
    code = "import sys, scalelab.laws; print([m for m in ('torch', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
