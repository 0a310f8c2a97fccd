"""The verb `compare`, and the flags of `fit` that name columns and parameters."""

import json

import numpy as np
import pytest

from scalelab import laws
from scalelab.cli import main
from scalelab.errors import UserError
from scalelab.laws import published, registry
from scalelab.laws.runs import headers

SIZES = [100000, 300000, 1000000, 3000000, 10000000, 30000000, 100000000]
LOSSES = [5.1740, 4.3637, 3.6974, 3.2417, 2.8670, 2.6107, 2.4003]


@pytest.fixture
def ladder(tmp_path):
    """Seven sizes in a file."""
    path = tmp_path / "runs.csv"
    rows = [f"{n},{loss}" for n, loss in zip(SIZES, LOSSES, strict=True)]
    path.write_text("\n".join(["N,loss_nats", *rows]) + "\n", encoding="utf-8")
    return path


def test_compare_prints_and_writes_what_it_found(ladder, tmp_path, capsys):
    out = tmp_path / "compare.json"
    at = ("--at", "N=1e9", "--at", "N=2B")
    assert main(["compare", str(ladder), *at, "--json", str(out)]) == 0
    told = capsys.readouterr().out
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["laws"][0]["name"] == "power_offset" and "power_offset" in told
    assert [row["N"] for row in content["predictions"]] == [1e9, 2e9]
    row = content["predictions"][0]
    assert row["low"] < row["predicted_nats"] < row["high"]
    assert row["predicted_nats"] == pytest.approx(1.8 + 60 * 1e9**-0.25, rel=1e-3)
    assert f"at N 1e+09: {row['predicted_nats']:.4f}" in told
    assert content["provenance"]["data_hash"] and content["settings"]["level"] == 0.95


@pytest.mark.parametrize(
    "flags,sentence",
    [
        (("--laws", "power,powr"), "law 'powr' is unknown, did you mean 'power'"),
        (("--laws", ","), "--laws ,: expected names"),
        (("--laws", "chinchilla"), "'D' is missing"),
        (("--at", "D=1"), "N is missing"),
        (("--x", "M"), "'M' is missing"),
        (("--level", "2"), "level is 2.0"),
    ],
)
def test_bad_input_to_compare_is_one_sentence(ladder, flags, sentence, tmp_path, capsys):
    out = tmp_path / "out" / "compare.json"
    assert main(["compare", str(ladder), *flags, "--json", str(out)]) == 2
    told = capsys.readouterr()
    assert sentence in told.err and told.err.count("\n") == 1
    assert not out.parent.exists()


def test_flags_of_fit_reach_the_fit(ladder, tmp_path, capsys):
    out = tmp_path / "fit.json"
    words = ["fit", str(ladder), "--fix", "E=1.75", "--convention", "as counted by hand"]
    words += ["--cell", "best", "--intervals", "profile", "--resamples", "7", "--seed", "3"]
    assert main([*words, "--json", str(out)]) == 0
    block = json.loads(out.read_text(encoding="utf-8"))
    assert block["params"]["E"] == pytest.approx(1.75) and block["fixed"] == {"E": 1.75}
    assert block["convention"] == "as counted by hand"
    settings = block["settings"]
    assert (settings["cell"], settings["resamples"], settings["seed"]) == ("best", 7, 3)
    assert {"standard_errors", "intervals", "objective", "starts", "fraction_at_best"} <= set(block)
    assert main(["fit", str(ladder), "--delta", "1e-3", "--json", str(out)]) == 0
    block = json.loads(out.read_text(encoding="utf-8"))
    assert "Huber" in block["objective_kind"] and block["delta"] == 1e-3
    assert "fixed" in capsys.readouterr().out


def test_noise_and_clusters_are_found_under_the_names_of_the_file(tmp_path, capsys):
    rows = [
        f"{n},{loss},{0.001 * (i + 1)}"
        for i, (n, loss) in enumerate(zip(SIZES, LOSSES, strict=True))
    ]
    path, out = tmp_path / "runs.csv", tmp_path / "fit.json"
    path.write_text("\n".join(["tokens,val_loss,se", *rows]) + "\n", encoding="utf-8")
    words = ["--x", "tokens", "--unit", "nats", "--noise", "se", "--cluster", "tokens"]
    assert main(["fit", str(path), *words, "--json", str(out)]) == 0
    block = json.loads(out.read_text(encoding="utf-8"))
    assert block["x"] == "D" and block["clustered_by"] == "D"
    assert block["convention"] == "training tokens"
    weights = np.array([row["weight"] for row in block["points"]])
    assert (np.diff(weights) < 0).all()
    words[words.index("nats")] = "perplexity"
    assert main(["fit", str(path), *words]) == 2
    assert "found perplexity" in capsys.readouterr().err


def test_bits_per_byte_are_fitted_as_they_are(tmp_path, capsys):
    path, out = tmp_path / "runs.csv", tmp_path / "fit.json"
    rows = [
        f"{n},{loss / 4},{i % 2}" for i, (n, loss) in enumerate(zip(SIZES, LOSSES, strict=True))
    ]
    path.write_text("\n".join(["N,val_bpb,tokenizer", *rows]) + "\n", encoding="utf-8")
    assert main(["fit", str(path), "--y", "val_bpb", "--json", str(out)]) == 0
    block = json.loads(out.read_text(encoding="utf-8"))
    assert block["y"] == "bits_per_byte" and block["params"]["E"] == pytest.approx(0.45, abs=1e-3)
    capsys.readouterr()


@pytest.mark.parametrize(
    "text,law,x,columns",
    [
        (None, "power", None, {}),
        ("params", "power", ["params"], {"params": "params"}),
        ("non_embedding_params", "power", ["N"], {"N": "non_embedding_params"}),
        ("params,tokens", "chinchilla", ["N", "D"], {"N": "params", "D": "tokens"}),
        ("total_params, seen", "chinchilla", ["N_total", "D"], {"N_total": "total_params"}),
        ("Model Size", "chinchilla", ["N", "D"], {"N": "Model Size"}),
    ],
)
def test_headers_become_the_columns_of_the_law(text, law, x, columns):
    found = headers.x_columns(text, registry.get(law))
    assert found[0] == x and columns.items() <= found[1].items()


@pytest.mark.parametrize("text", ["tokens,params", "train_tokens", "size,model_size"])
def test_headers_that_say_the_contrary_are_refused(text):
    with pytest.raises(UserError, match="N and D seem swapped"):
        headers.x_columns(text, registry.get("chinchilla"))


def test_the_convention_says_what_a_header_does_not():
    x, columns = headers.x_columns("params,tokens", registry.get("chinchilla"))
    told = headers.convention(x, columns)
    assert told == (
        "N: column 'params' as named by the caller; what it counts is not known; training tokens"
    )


def published_like(tmp_path, factor=1.0):
    """Losses of besiroglu2024 at a grid of N and D, times a factor."""
    law = published.get("besiroglu2024")
    grid = [(n, d) for n in np.geomspace(1e8, 1e10, 5) for d in np.geomspace(2e9, 2e11, 4)]
    losses = factor * laws.predict(law, np.array(grid))
    path = tmp_path / "surface.csv"
    rows = [f"{n},{d},{loss}" for (n, d), loss in zip(grid, losses, strict=True)]
    path.write_text("\n".join(["N,D,loss_nats", *rows]) + "\n", encoding="utf-8")
    return path


def test_published_laws_are_scored_beside_the_fitted_ones(tmp_path, capsys):
    out, path = tmp_path / "found.json", published_like(tmp_path, factor=1.1)
    flags = ["--laws", "chinchilla", "--at", "N=1e11,D=1e12", "--json", str(out)]
    assert main(["compare", str(path), *flags, "--published", "all"]) == 0
    told = capsys.readouterr().out
    content = json.loads(out.read_text(encoding="utf-8"))
    found = {one["name"]: one for one in content["published"]}
    own = found["besiroglu2024"]
    assert own["bias_relative"] == pytest.approx(1 / 1.1 - 1, rel=1e-9)
    assert own["shape_error"] < 1e-9 < found["hoffmann2022"]["shape_error"]
    assert "published besiroglu2024: bias -9.09%" in told
    row = content["predictions"][0]["published"]
    assert row["besiroglu2024"] == pytest.approx(
        laws.predict(published.get("besiroglu2024"), np.array([[1e11, 1e12]]))[0]
    )
    # Laws of N or of D alone are of these points too; one of unique tokens or of FLOPs is not.
    assert {"kaplan2020-N", "kaplan2020-D"} <= set(found)
    assert not {"muennighoff2023", "kaplan2020-C"} & set(found)


def test_a_published_law_of_other_columns_is_named_with_the_reason(tmp_path, capsys):
    path = published_like(tmp_path)
    assert main(["compare", str(path), "--laws", "chinchilla", "--published", "kaplan2020-C"]) == 0
    assert "kaplan2020-C: not scored: the points have no C" in capsys.readouterr().out


def test_an_unknown_published_law_is_one_sentence(tmp_path, capsys):
    path = published_like(tmp_path)
    assert main(["compare", str(path), "--published", "hofmann2022"]) == 2
    told = capsys.readouterr().err
    assert "did you mean 'hoffmann2022'" in told and told.count("\n") == 1
