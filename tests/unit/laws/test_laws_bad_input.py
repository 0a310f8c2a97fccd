"""Bad input to `scalelab fit`: one sentence on stderr, exit code 2, nothing written."""

from pathlib import Path

import pytest

from scalelab.cli import main

SIZES = ["100000", "300000", "1000000", "3000000", "10000000", "30000000"]
LOSSES = ["5.1740", "4.3637", "3.6974", "3.2417", "2.8670", "2.6107"]
TOKENS = [str(20 * int(size)) for size in SIZES]


def table(header: str = "N,loss_nats", *columns: list[str]) -> str:
    rows = zip(*(columns or (SIZES, LOSSES)), strict=True)
    return "\n".join([header, *(",".join(row) for row in rows)]) + "\n"


def swap(place: int, value: str, of: list[str] = SIZES) -> list[str]:
    return [value if i == place else item for i, item in enumerate(of)]


CHINCHILLA = ["--law", "chinchilla"]
CASES = {
    "missing column": (table("D,loss_nats"), [], "'N' is missing"),
    "misspelt loss": (table("N,lossnats"), [], "did you mean 'lossnats'"),
    "misspelt size": (table("parms,loss_nats"), [], "did you mean 'parms'"),
    "misspelt tokens": (
        table("N,tokns,loss_nats", SIZES, TOKENS, LOSSES),
        CHINCHILLA,
        "did you mean 'tokns'",
    ),
    "bare size": (table("params,loss_nats"), [], "does not say whether embeddings are counted"),
    "misspelt flag": (table("params,loss_nats"), ["--x", "prams"], "did you mean 'params'"),
    "unit unknown": (table("N,loss"), [], "does not say its unit"),
    "unit odd": (table("N,loss"), ["--unit", "bit"], "unit 'bit' is unknown"),
    "perplexity as loss": (
        table("N,loss", SIZES, ["176.62", "78.547", "40.342", "25.577", "17.584", "13.609"]),
        ["--unit", "nats"],
        "give perplexity as the unit",
    ),
    "perplexity below 1": (table("N,ppl", SIZES, swap(2, "0.9", LOSSES)), [], "is above 1"),
    "negative size": (table("N,loss_nats", swap(1, "-5"), LOSSES), [], "line 3, column 'N'"),
    "zero size": (table("N,loss_nats", swap(1, "0"), LOSSES), [], "found '0'"),
    "zero loss": (table("N,loss_nats", SIZES, swap(3, "0", LOSSES)), [], "line 5, column 'loss"),
    "nan size": (table("N,loss_nats", swap(1, "nan"), LOSSES), [], "found 'nan'"),
    "inf size": (table("N,loss_nats", swap(1, "inf"), LOSSES), [], "found 'inf'"),
    "nan loss": (table("N,loss_nats", SIZES, swap(4, "nan", LOSSES)), [], "found 'nan'"),
    "inf loss": (table("N,loss_nats", SIZES, swap(4, "inf", LOSSES)), [], "column status"),
    "no loss": (table("N,loss_nats", SIZES, swap(4, "", LOSSES)), [], "found an empty cell"),
    "text in numbers": (table("N,loss_nats", swap(0, "tiny"), LOSSES), [], "found 'tiny'"),
    "thousands": (table("N,loss_nats", swap(2, "1,000,000"), LOSSES), [], "4 cells, the header"),
    "one size": (table("N,loss_nats", ["1e6"] * 6, LOSSES), [], "column N holds one value"),
    "few points": (table("N,loss_nats", SIZES[:3], LOSSES[:3]), [], "3 sizes, 3 parameters"),
    "one row": (table("N,loss_nats", SIZES[:1], LOSSES[:1]), [], "column N holds one value"),
    "duplicate rows alone": (
        table("N,loss_nats", SIZES[:3] * 4, LOSSES[:3] * 4),
        [],
        "3 sizes, 3 parameters",
    ),
    "equal losses": (table("N,loss_nats", SIZES, ["3.0"] * 6), [], "loss_nats holds one value"),
    "rising loss": (table("N,loss_nats", SIZES, LOSSES[::-1]), [], "loss does not fall with N"),
    "swapped by name": (
        table("params,tokens,loss_nats", SIZES, TOKENS, LOSSES),
        [*CHINCHILLA, "--x", "tokens,params"],
        "N and D seem swapped",
    ),
    "swapped by size": (
        table("N,D,loss_nats", TOKENS, SIZES, LOSSES),
        CHINCHILLA,
        "N and D seem swapped",
    ),
    "mixed units of loss": (
        table("N,loss_nats", SIZES, [*LOSSES[:3], "4.6768", "4.1362", "3.7665"]),
        [],
        "units seem mixed",
    ),
    "mixed units of size": (table("N,loss_nats", swap(1, "0.3"), LOSSES), [], "units seem mixed"),
    "mixed unit column": (
        table("N,loss,unit", SIZES, LOSSES, ["nats"] * 5 + ["bits"]),
        [],
        "mixes units",
    ),
    "mixed tokenizers": (
        table("N,loss_nats,tokenizer", SIZES, LOSSES, ["a"] * 5 + ["b"]),
        [],
        "rows differ in tokenizer",
    ),
    "mixed contexts (E05)": (
        table("N,loss_nats,eval_context", SIZES, LOSSES, ["128"] * 5 + ["256"]),
        [],
        "rows differ in eval_context",
    ),
    **{
        f"mixed {column} (E05)": (
            table(f"N,loss_nats,{column}", SIZES, LOSSES, [*one] * 5 + [*other]),
            [],
            f"rows differ in {column}",
        )
        for column, one, other in (
            ("eval_split", ["test"], ["tuning"]),
            ("eval_stride", ["128"], ["64"]),
            ("eval_bos", ["separator"], ["none"]),
            ("eval_text_sha256", ["ab12"], ["cd34"]),
        )
    },
    "empty": ("", [], "is empty"),
    "header alone": ("N,loss_nats\n", [], "no rows"),
    "all failed": (
        table("N,loss_nats,status", SIZES, LOSSES, ["diverged"] * 6),
        [],
        "no row is left to fit",
    ),
    "two losses": (
        table("N,val_loss,test_loss", SIZES, LOSSES, LOSSES),
        ["--unit", "nats"],
        "both 'val_loss' and 'test_loss'",
    ),
    "no such law": (table(), ["--law", "chinchila"], "did you mean 'chinchilla'"),
    "too many x": (table(), ["--x", "N,D"], "power_offset needs 1 x columns"),
    "fix without value": (table(), ["--fix", "E"], "expected a parameter and a number"),
    "fix unknown": (table(), ["--fix", "F=1"], "no parameter 'F'"),
    "fix twice": (table(), ["--fix", "E=1", "--fix", "E=2"], "fixed twice"),
    "tie to itself": (table(), ["--tie", "E=E"], "expected two parameters"),
    "tie unlike": (table(), ["--tie", "E=alpha", "--tie", "A=alpha"], "tied"),
    "no such cluster": (table(), ["--cluster", "run"], "'run' is missing"),
    "no such noise": (table(), ["--noise", "se"], "'se' is missing"),
    "no such cell": (table(), ["--cell", "worst"], "cell 'worst' is unknown"),
    "delta for squares": (
        table(),
        ["--delta", "1e-3", "--objective", "least_squares"],
        "belongs to the objective huber",
    ),
    "no resamples": (table(), ["--resamples", "0"], "resamples is 0"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_sentence_and_leaves_nothing(name, tmp_path, capsys):
    text, flags, sentence = CASES[name]
    path, out = tmp_path / "runs.csv", tmp_path / "out" / "fit.json"
    path.write_text(text, encoding="utf-8")
    _refused(path, flags, sentence, out, capsys)


@pytest.mark.parametrize(
    "content,sentence",
    [
        ("N,loss_nats\n1e6,3.0\n".encode("utf-16"), "not UTF-8"),
        ("N,loss_nats\n1e6,3.0\n".encode("utf-16-le"), "null characters"),
        ("N,loss_nats,größe\n1e6,3.0,1\n".encode("latin-1"), "is not UTF-8"),
    ],
)
def test_a_wrong_encoding_is_one_sentence(content, sentence, tmp_path, capsys):
    path = tmp_path / "runs.csv"
    path.write_bytes(content)
    _refused(path, [], sentence, tmp_path / "out" / "fit.json", capsys)


def test_a_folder_and_a_missing_file_are_one_sentence(tmp_path, capsys):
    folder = tmp_path / "folder"
    folder.mkdir()
    _refused(folder, [], "is a folder", tmp_path / "out" / "fit.json", capsys)
    _refused(tmp_path / "none.csv", [], "no such file", tmp_path / "out" / "fit.json", capsys)


def _refused(path: Path, flags: list[str], sentence: str, out: Path, capsys) -> None:
    assert main(["fit", str(path), *flags, "--json", str(out)]) == 2
    told = capsys.readouterr()
    assert sentence in told.err and told.err.startswith("scalelab fit: ")
    assert told.err.count("\n") == 1 and told.out == ""
    assert not out.parent.exists()
