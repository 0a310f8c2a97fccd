"""Images and series as symbols: what is drawn, what is known of it, and what is refused."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scalelab.config import CorpusConfig, PartConfig
from scalelab.corpus.documents import Document, Tally
from scalelab.corpus.prepare import prepare
from scalelab.corpus.shards import load
from scalelab.corpus.sources import get_source, images, series
from scalelab.errors import UserError
from scalelab.plan.data import fingerprint, settings
from scalelab.plan.symbols import unit


def corpus(source: str, **fields: Any) -> CorpusConfig:
    """A small corpus of the source."""
    given = {"tokenizer": "bytes", "max_bytes": 150_000, "test_tokens": 40_000}
    return CorpusConfig(source=source, **{**given, "tuning_tokens": 20_000, **fields})


def specification(config: CorpusConfig) -> dict[str, Any]:
    found = fingerprint(config)
    return {"format": 1, "config": settings(config), "seed": 7, "fingerprint": found}


def read(config: CorpusConfig) -> list[Document]:
    source = get_source(config.source)
    return list(source(settings(config), fingerprint(config), Tally(), print))


@pytest.fixture(scope="module", params=["images", "series"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp(request.param)
    prepare(specification(corpus(request.param)), root, lambda _: None)
    return root


def test_every_symbol_is_a_byte_and_a_token_and_none_is_cut(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    source = manifest["spec"]["config"]["source"]
    size = {"images": 144, "series": 1000}[source]
    assert {split["bytes_per_token"] for split in manifest["splits"].values()} == {1.0}
    assert manifest["overlap"]["heldout_tokens_removed"] == 0
    assert set(manifest["removed"]) <= {"exact duplicate", "over cap"}
    assert manifest["text"]["bytes"] == size * manifest["text"]["documents"]
    ids = load(folder).tokens["train"]
    starts = np.flatnonzero(ids == load(folder).separator)
    assert (np.diff(starts) == size + 1).all()
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert card["languages"] == {"sampled_documents": 0, "documents": None}


def test_a_longer_corpus_begins_with_a_shorter_one() -> None:
    for source in ("images", "series"):
        short = read(corpus(source, max_bytes=5_000))
        assert short == read(corpus(source, max_bytes=10_000))[: len(short)]


def test_images_are_those_of_their_digits() -> None:
    """The middle of a zero without a dot in it is paper, that of a one is ink."""
    found: dict[str, list[int]] = {"0": [], "1": []}
    for number in range(400):
        face, digit, draws = images.chosen(number)
        if digit in found and face.startswith("DejaVuSerif") and abs(draws[1] - 0.5) < 0.2:
            pixels = images.image(number)[2]
            rows, columns = (np.flatnonzero((pixels > 2).any(side)) for side in (1, 0))
            middle = [(one[0] + one[-1]) // 2 for one in (rows, columns)]
            found[digit].append(pixels[middle[0], middle[1] : middle[1] + 2].max())
    assert len(found["1"]) > 5
    assert np.mean(found["0"]) < 1 and np.mean(found["1"]) > 3, "levels of 0 to 7"


def test_images_differ_in_place_size_and_ink() -> None:
    pixels = np.stack([images.image(number)[2] for number in range(200)])
    assert len(np.unique(pixels.reshape(200, -1), axis=0)) == 200
    assert (pixels.max((1, 2)) > 0).all() and pixels.max() < len(images.LEVELS)
    assert len(set(images.LEVELS)) == len(images.LEVELS) == 8
    grey = np.bincount(pixels.ravel(), minlength=8)
    assert (grey > 0).all() and 0.5 < grey[0] / grey.sum() < 0.9


def test_mu_law_is_that_of_telephony() -> None:
    """ln(1 + 255 x) / ln 256, whose values at 0, 1/255, 15/255 and 1 are 0, 1/8, 1/2 and 1."""
    x = np.array([0, 1 / 255, 15 / 255, 1])
    assert series.compress(x) == pytest.approx([0, 0.125, 0.5, 1])
    assert series.compress(-x) == pytest.approx(-series.compress(x))
    assert series.expand(series.compress(x)) == pytest.approx(x)


def test_probabilities_of_the_observer_sum_to_one() -> None:
    made = series.sound(3)
    total = np.zeros(series.SAMPLES)
    for level in range(series.LEVELS):
        other = dataclasses.replace(made, levels=np.full(series.SAMPLES, level))
        total += 2.0 ** -series.costs(other)
    assert total == pytest.approx(np.ones(series.SAMPLES), abs=1e-9)


def test_what_comes_is_as_likely_as_the_observer_says() -> None:
    """The mean cost is the mean entropy of the stated chances, within what samples allow."""
    gained = []
    for number in range(20):
        made = series.sound(number)
        each = [
            series.costs(dataclasses.replace(made, levels=np.full(series.SAMPLES, level)))
            for level in range(series.LEVELS)
        ]
        entropy = sum(np.where(cost < 700, cost * 2.0**-cost, 0.0) for cost in each)
        gained.append(series.costs(made) - entropy)
    surprise = np.concatenate(gained)
    assert abs(surprise.mean()) < 4 * surprise.std() / math.sqrt(surprise.size)


def test_the_floor_of_a_split_is_that_of_its_documents(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    if manifest["spec"]["config"]["source"] == "images":
        assert "truth" not in manifest, "nothing is known of images"
        return
    held = json.loads((folder / "test.docs.json").read_text(encoding="utf-8"))
    numbers = [int(one["name"].split("/")[1]) for one in held["documents"]]
    costs = []
    for start, end, document, _ in held["pieces"]:
        costs.append(series.costs(series.sound(numbers[document]))[: end - start])
    assert manifest["truth"]["floor_test_bits"] == pytest.approx(np.concatenate(costs).mean())
    assert set(manifest["truth"]) == {"floor_test_bits", "floor_tuning_bits"}


def test_units() -> None:
    assert unit("images") == "bits per pixel" and unit("series") == "bits per sample"
    assert unit("docstrings") == "bits per byte"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tokenizer": "bpe"}, "'images' gives pixels, not text .tokenizer: found bpe"),
        ({"max_bytes": None}, "max_bytes: found None, expected how many symbols to make"),
    ],
)
def test_symbols_are_not_read_as_text(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fingerprint(corpus("images", **fields))


def test_symbols_are_no_part_of_a_mixture() -> None:
    parts = (PartConfig(name="a", weight=1, source="series"),)
    with pytest.raises(UserError, match="found the source 'series', expected one that reads text"):
        fingerprint(CorpusConfig(source="mixture", mixture=parts))


def test_other_fonts_than_planned_are_refused() -> None:
    config = corpus("images")
    other = {"packages": {"matplotlib": "3.0.0"}}
    with pytest.raises(UserError, match=r"but the corpus was planned with 3\.0\.0"):
        next(get_source("images")(settings(config), other, Tally(), print))
