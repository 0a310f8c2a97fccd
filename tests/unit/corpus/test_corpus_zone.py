"""`heldout_share`: what is held out stays held out, whatever is added."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scalelab import config
from scalelab.corpus import load
from scalelab.corpus.documents import order_key
from scalelab.corpus.prepare import prepare
from scalelab.corpus.zone import Zone, places_of
from scalelab.errors import UserError
from scalelab.plan.data import settings
from scalelab.seeds import stream

Make = Callable[..., Any]


def sides(spec: dict[str, Any], out: Path) -> tuple[set[bytes], set[bytes]]:
    """(texts that are trained on, texts that are held out) of a corpus of raw bytes.

    Held out is a text that a piece of the test or tuning split is from.
    """
    prepare(spec, out, lambda line: None)
    corpus = load(out)

    def texts(split: str) -> set[bytes]:
        ids = corpus.tokens[split]
        rows = np.split(ids, np.flatnonzero(ids == 0))
        return {bytes((row[row != 0] - 1).astype(np.uint8)) for row in rows} - {b""}

    whole = [path.read_bytes() for path in Path("text").iterdir()]
    pieces = texts("test") | texts("tuning")
    held = {text for text in whole if any(piece in text for piece in pieces)}
    return texts("train"), held


def add_half(prose: Make) -> None:
    """50% more documents."""
    for number in range(80):
        Path(f"text/new{number:02}.txt").write_text(prose(2000 + number, words=120))


def test_no_document_changes_sides_when_half_as_many_are_added(
    folder: Path, texts: list[str], specification: Make, prose: Make
) -> None:
    before, held = sides(specification(["text/*.txt"], heldout_share=0.2), folder / "one")
    assert len(held) >= 6 and not before & held
    add_half(prose)
    after, still = sides(specification(["text/*.txt"], heldout_share=0.2), folder / "two")
    assert before < after, "all that was trained on is, and new text with it"
    assert not held & after and not still & before


def test_without_a_share_some_do(
    folder: Path, texts: list[str], specification: Make, prose: Make
) -> None:
    """What the share is for: the same corpora, split as they always were."""
    _, held = sides(specification(["text/*.txt"]), folder / "one")
    add_half(prose)
    after, _ = sides(specification(["text/*.txt"]), folder / "two")
    assert held & after


def test_the_rest_of_the_zone_is_left_out_and_counted(
    folder: Path, texts: list[str], specification: Make
) -> None:
    spec = specification(texts, heldout_share=0.3)
    train, held = sides(spec, folder / "out")
    seed = stream(spec["seed"], "corpus order")
    whole = {Path(name).read_text() for name in texts}
    first = int(0.3 * 2**128).to_bytes(16, "big")
    zone = {text.encode() for text in whole if order_key(text, seed) < first}
    manifest = load(folder / "out").manifest
    left_out = manifest["removed"]["held-out share, not needed"]["documents"]
    assert held < zone and train == {text.encode() for text in whole} - zone
    assert manifest["splits"]["train"]["documents"] == len(train) == 160 - len(zone)
    assert left_out == len(zone) - len(held) > 10
    assert 0.2 * 160 < len(zone) < 0.4 * 160


def test_a_zone_that_is_too_small_names_a_share_that_does(
    folder: Path, texts: list[str], specification: Make
) -> None:
    for share in (0.001, 0.03):
        with pytest.raises(UserError, match=r"6,000 held-out tokens are wanted \(test") as caught:
            prepare(specification(texts, heldout_share=share), folder / "out", lambda line: None)
        assert f"the first {share:g} of the hash range" in str(caught.value)
        found = re.search(r"a share of ([\d.]+) would do", str(caught.value))
        assert found is not None
        assert share < float(found[1]) <= 0.5
        better = specification(texts, heldout_share=float(found[1]))
        prepare(better, folder / f"{share}", lambda line: None)
    with pytest.raises(UserError, match=r"no share up to 0\.5 would do.*its 160 documents"):
        many = specification(texts, heldout_share=0.1, test_tokens=60_000)
        prepare(many, folder / "out", lambda line: None)
    assert not (folder / "out").exists()


def test_a_zone_holds_the_documents_of_its_share() -> None:
    keys = sorted(order_key(f"text {number}", seed=5) for number in range(4000))
    places = places_of(np.array([np.void(key) for key in keys]))
    assert places == pytest.approx([int.from_bytes(key, "big") / 2**128 for key in keys])
    zone = Zone(0.2, places)
    assert zone.end() == sum(place < 0.2 for place in places) == pytest.approx(800, abs=100)
    assert zone.end(0.5) == pytest.approx(2000, abs=130)
    for number in range(0, 4000, 97):
        share = zone.share_with(number)
        assert places[number] < share <= places[number] + 0.0101


def test_the_share_is_a_key_of_the_corpus_that_is_not_there_by_default() -> None:
    def corpus(**keys: Any) -> Any:
        return config.parse({"study": "s", "corpus": keys}).corpus

    assert "heldout_share" not in settings(corpus())
    assert settings(corpus(heldout_share=0.05))["heldout_share"] == 0.05
    for wrong in (0, 0.6, "a"):
        with pytest.raises(UserError, match=r"corpus\.heldout_share: found"):
            corpus(heldout_share=wrong)
