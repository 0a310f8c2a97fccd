"""The page: nothing fetched, everything escaped, every run shown, residuals above 1% named."""

import argparse
import html
import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from scalelab.corpus.card import Card
from scalelab.errors import UserError
from scalelab.figures import load_study
from scalelab.report import command, write_report
from scalelab.report.page import LARGE_SVG, embedded

CORPUS = {
    "id": "c0ffee123456",
    "data_hash": "ab12" * 16,
    "splits": {
        "train": {"documents": 900, "tokens": 27_000_000, "bytes": 56_000_000},
        "test": {"documents": 40, "tokens": 524_288, "bytes": 1_050_000},
    },
    "tokenizer": {"kind": "bpe", "vocab_size": 512},
    "text": {"documents": 940, "bytes": 57_050_000, "distinct_line_share": 0.75},
    "read": {"read": {"documents": 5000, "bytes": 9e7}, "blank": {"documents": 9, "bytes": 3}},
    "removed": {"near duplicate": {"documents": 23, "bytes": 203_879}},
    "overlap": {"window_tokens": 32, "test_windows_in_training": 0.0},
    "spec": {"config": {"source": "python"}},
}


class Reader(HTMLParser):
    """Collects tags with their attributes and checks that they nest."""

    def __init__(self):
        super().__init__()
        self.tags, self.open = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page_of(study, corpus=CORPUS, plan=None):
    loaded = load_study(study / "runs.csv", study / "laws.json")
    out = write_report(loaded, study / "figures", study / "report.html", corpus, plan)
    return out.read_text(encoding="utf-8")


def data_of(page):
    """What the page's scripts read."""
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])


def test_page_is_well_formed_and_refers_to_nothing_outside(usual):
    page = page_of(usual)
    before, _, after = page.partition('<script type="text/plain" id="library">')
    script = after.partition("</script>")[2]
    for own in (before, re.sub(r"^ *//.*|// .*", "", script, flags=re.M)):
        assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch\(|XMLHttp|import\(", own)
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    for tag, attributes in reader.tags:
        for name in ("src", "href", "srcset", "action"):
            inside = ("data:", "#", "../runs/")
            assert attributes.get(name, "data:").startswith(inside), (tag, name)
        if tag == "img":
            assert len(attributes["alt"]) > 20
        if tag == "th":
            assert attributes["scope"] in ("col", "row")
    assert reader.tags[0] == ("html", {"lang": "en"})
    assert [tag for tag, _ in reader.tags].count("h1") == 1
    assert len(page.encode()) < 5_000_000


def test_page_has_every_run_and_the_same_bytes_twice(usual):
    page = page_of(usual)
    for run in load_study(usual / "runs.csv", usual / "laws.json").runs:
        assert f"<code>{run.id}</code>" in page
        assert f"{run.number('loss_nats'):.4f}" in page
    assert page_of(usual) == page


def test_answer_comes_first_and_agrees_with_the_fit(usual):
    fit = json.loads((usual / "laws.json").read_text())["fits"][0]
    text = page_of(usual).split("<figure")[0]
    low, high = fit["intervals"]["alpha"]
    assert f"alpha = {fit['params']['alpha']:.3f}" in text
    assert f"95% interval {low:.3f} to {high:.3f}" in text
    tenfold = fit["extrapolation"][-1]
    assert f"predicted to reach {tenfold['predicted_nats']:.3f}" in text
    first, last = fit["points"][0]["predicted_nats"], fit["points"][-1]["predicted_nats"]
    assert f"from {first:.3f} to" in text and f"to {last:.3f}" in text


def test_every_size_within_one_percent_is_said(usual):
    fit = json.loads((usual / "laws.json").read_text())["fits"][0]
    assert max(abs(point["residual_relative"]) for point in fit["points"]) < 0.01
    assert "Every size lies within 1% of the law" in page_of(usual)


def test_a_size_above_one_percent_is_named(drawn):
    study = drawn("outlier")
    points = json.loads((study / "laws.json").read_text())["fits"][0]["points"]
    above = [point for point in points if abs(point["residual_relative"]) > 0.01]
    assert above
    page = page_of(study)
    assert f"{len(above)} of {len(points)} size" in page
    for point in above:
        said = f"N = {point['N']:,} ({100 * point['residual_relative']:+.2f}%)"
        assert said in html.unescape(page)
    assert page.count('class="above"') == len(above)


def test_text_from_data_cannot_become_markup(drawn):
    evil = "<script>alert(1)</script>"
    study = drawn(labels={"d16-s1": evil, "d56-s1": '"><img src=x>'}, failed={5: "diverged"})
    laws = json.loads((study / "laws.json").read_text())
    laws["study"] = "a & b </title><script>"
    laws["fits"][0]["warnings"] = [evil]
    (study / "laws.json").write_text(json.dumps(laws))
    page = page_of(study, {**CORPUS, "id": evil})
    assert page.count("<script") == page.count("</script>") == 3
    assert page.count("<img src=x>") == page.count("alert(1)</script>") == 0
    labels = [run["label"] for run in data_of(page)["runs"]]
    assert evil in labels and '"><img src=x>' in labels
    assert page.count(html.escape(evil)) >= 3


def test_failed_runs_are_listed_with_their_reason(drawn):
    page = page_of(drawn("one size diverged"))
    assert "1 of 11 runs gave no held-out loss" in page
    assert page.count("loss not finite at step 45") == 2
    assert '<span class="flag">diverged</span>' in page


def test_floor_that_is_not_determined_is_said_in_words(drawn):
    page = page_of(drawn("floor at its bound"))
    assert "The floor E is not determined by these runs" in page


def test_planned_runs_without_a_result_are_named(usual):
    runs = load_study(usual / "runs.csv", usual / "laws.json").runs
    plan = {"runs": [{"id": run.id, "label": run.label} for run in runs]}
    assert "without a result" not in page_of(usual, plan=plan)
    plan["runs"].append({"id": "ffffffffffff", "label": "d96-s1"})
    assert "Planned, but without a result: d96-s1." in page_of(usual, plan=plan)


def test_corpus_card_has_size_cleaning_and_hash(usual):
    page = page_of(usual)
    for text in ("57.0 MB", "27,000,000", "removed: near duplicate", CORPUS["data_hash"]):
        assert text in page
    assert ">Corpus</h2>" not in page_of(usual, corpus=None)


def test_report_card_and_cleaning_stand_with_the_corpus(usual):
    card = Card()
    for tokens in (3, 200, 250, 5):
        card.add("The harbour was quiet before the first ferry came in. " * 4, tokens)
    changed = {"documents": 7, "bytes_before": 70, "bytes_after": 60}
    none = {"documents": 0, "bytes": 0}
    cleaning = {
        "benchmarks": {
            "changed": {"documents": 1, "bytes_before": 9, "bytes_after": 5},
            "removed": {"documents": 3, "bytes": 99},
            "found": {"runs of words": 12},
            **{"texts": 40, "words": 13, "action": "cut", "share_of_texts_touched": 0.125},
        },
        "mask": {"changed": changed, "removed": none, "found": {"<email>": 9}},
    }
    manifest = CORPUS | {"id": "0" * 12, "cleaning": cleaning}
    manifest["tokenizer"] = {"kind": "bpe", "vocab_size": 512, "ids_used_in_training": 480}
    page = page_of(usual, corpus=manifest | {"card": card.as_dict(manifest)})
    reader = Reader()
    reader.feed(page)
    bars = [a["style"] for tag, a in reader.tags if a.get("class") == "bar"]
    assert len(bars) == 7 and bars.count("width:0.0%") == 4, "bins from 2 to 255 tokens"
    for text in (
        "12.50% of 40 benchmark texts",
        "cleaning: benchmarks",
        "en 100.0% of 4 documents",
    ):
        assert text in page
    for text in ("480 of 512 ids", "128 to 255", "near duplicates", "&lt;email&gt; 9"):
        assert text in page
    bare = page_of(usual, corpus=manifest | {"card": None})
    assert "Tokens in a document" not in bare and "&lt;email&gt; 9" in bare


def test_a_study_without_a_fit_has_a_page(usual, tmp_path):
    laws = {"study": "none", "fits": [], "provenance": {}}
    (tmp_path / "laws.json").write_text(json.dumps(laws))
    loaded = load_study(usual / "runs.csv", tmp_path / "laws.json")
    page = write_report(loaded, usual / "figures", tmp_path / "r.html").read_text()
    assert "No law was fitted." in page


def test_missing_main_figure_is_named(usual, tmp_path):
    loaded = load_study(usual / "runs.csv", usual / "laws.json")
    with pytest.raises(UserError, match=r"scaling_law\.svg: no such file"):
        write_report(loaded, tmp_path, tmp_path / "report.html")


def test_command_writes_the_page(usual, tmp_path, capsys):
    (tmp_path / "manifest.json").write_text(json.dumps(CORPUS))
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    words = ["--runs", str(usual / "runs.csv"), "--laws", str(usual / "laws.json")]
    words += ["--figures", str(usual / "figures"), "--out", str(tmp_path / "report.html")]
    words += ["--manifest", str(tmp_path / "manifest.json")]
    assert command.run(parser.parse_args(words)) == 0
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert "report.html" in capsys.readouterr().out


def test_a_large_figure_goes_in_as_pixels_where_they_are_fewer(usual, tmp_path):
    figures = shutil.copytree(usual / "figures", tmp_path / "figures")
    loaded = load_study(usual / "runs.csv", usual / "laws.json")
    drawn = (figures / "loss_vs_tokens.svg").read_text(encoding="utf-8")
    padded = drawn + f"<!-- {'x' * LARGE_SVG} -->"
    (figures / "loss_vs_tokens.svg").write_text(padded, encoding="utf-8")
    kinds = {item["name"]: item["uri"].partition(";")[0] for item in embedded(figures, loaded)}
    assert kinds["loss_vs_tokens"] == "data:image/svg+xml", "there is no PNG"
    for name in kinds:
        (figures / f"{name}.png").write_bytes(b"\x89PNG")
    kinds = {item["name"]: item["uri"].partition(";")[0] for item in embedded(figures, loaded)}
    assert kinds["loss_vs_tokens"] == "data:image/png"
    assert kinds["scaling_law"] == "data:image/svg+xml"
