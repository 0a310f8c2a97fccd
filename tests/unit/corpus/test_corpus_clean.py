import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from datasketch import MinHash, MinHashLSH

from scalelab.corpus.clean import collect, select
from scalelab.corpus.documents import Document, Tally, order_key
from scalelab.corpus.near import NearDuplicates, shingles
from scalelab.corpus.store import Store

Prose = Callable[..., str]


@dataclass(frozen=True)
class Left:
    documents: list[Document]
    removed: Tally
    bytes: int


def run(
    documents: list[Document],
    seed: int = 3,
    min_bytes: int = 0,
    near_threshold: float | None = 0.7,
    max_bytes: int | None = None,
    weights: tuple[float, ...] = (1.0,),
) -> Left:
    removed = Tally()
    with TemporaryDirectory() as folder, Store(Path(folder, "work"), "documents") as store:
        collect(documents, store, seed=seed, min_bytes=min_bytes, removed=removed)
        found = select(
            store,
            seed=seed,
            near_threshold=near_threshold,
            max_bytes=max_bytes,
            weights=weights,
            removed=removed,
            report=lambda line: None,
        )
        return Left(list(found.documents), removed, found.bytes)


@pytest.fixture
def documents(prose: Prose) -> list[Document]:
    return [Document(f"{i}.txt", prose(i)) for i in range(30)]


def edit(text: str, every: int) -> str:
    """Replace every n-th word."""
    words = text.split()
    return " ".join("changed" if i % every == 0 else w for i, w in enumerate(words))


def test_exact_duplicates_keep_one_name_whatever_the_order(documents: list[Document]) -> None:
    copies = [Document(f"copy{i}.txt", documents[4].text) for i in range(9)]
    for mixed in (documents + copies, copies[::-1] + documents[::-1]):
        found = run(mixed)
        assert len(found.documents) == 30
        assert found.removed.documents["exact duplicate"] == 9
        assert [d.name for d in found.documents if d.text == documents[4].text] == ["4.txt"]


def test_near_duplicates_go_and_others_stay(documents: list[Document]) -> None:
    # One word of 60 changed spoils 5 of 60 shingles: similarity about 0.85. One of 6: near 0.1.
    near = [Document(f"near{i}", edit(documents[i].text, 60)) for i in range(10)]
    far = [Document(f"far{i}", edit(documents[i].text, 6)) for i in range(10)]
    found = run(documents + near + far)
    assert found.removed.documents == {"near duplicate": 10}
    assert len(run(documents + near, near_threshold=None).documents) == 40
    kept = {d.text for d in found.documents}
    for i in range(10):
        first = min(documents[i].text, near[i].text, key=lambda text: order_key(text, 3))
        assert first in kept


def test_result_does_not_depend_on_the_order_of_reading(documents: list[Document]) -> None:
    mixed = documents + [Document(f"near{i}", edit(documents[i].text, 60)) for i in range(10)]
    expected = run(mixed, max_bytes=30_000)
    random.Random(0).shuffle(mixed)
    assert run(mixed, max_bytes=30_000) == expected


def test_another_seed_gives_another_order(documents: list[Document]) -> None:
    assert run(documents, seed=3).documents != run(documents, seed=4).documents


def test_cap_keeps_whole_documents_and_stays_put(documents: list[Document], prose: Prose) -> None:
    """Case T14: a limit in bytes takes whole documents."""
    limit = 30_000
    before = run(documents, max_bytes=limit)
    assert limit - 4000 < before.bytes <= limit
    assert before.bytes == sum(len(d.text.encode()) for d in before.documents)
    over = before.removed.documents["over max_bytes"]
    assert over == 30 - len(before.documents) > 0
    # New documents push out the last of the order; those in front stay in their places.
    more = [Document(f"new{i}", prose(100 + i)) for i in range(3)]
    after = [d for d in run(documents + more, max_bytes=limit).documents if d not in more]
    assert after == before.documents[: len(after)]
    assert len(after) >= len(before.documents) - 4


def test_short_documents_are_counted_in_bytes() -> None:
    found = run([Document("a", "äöü"), Document("b", "abcde")], min_bytes=6, near_threshold=None)
    assert [d.name for d in found.documents] == ["a"]
    assert found.removed.as_dict() == {"short": {"documents": 1, "bytes": 5}}


def test_shingles_are_word_5_grams() -> None:
    words = [f"w{i}" for i in range(20)]
    one, two = shingles(" ".join(words)), shingles("\n-".join(words))
    assert len(one) == 16
    assert np.array_equal(one, two)
    changed = shingles(" ".join([*words[:10], "x", *words[11:]]))
    assert len(np.intersect1d(one, changed)) == 11
    assert len(np.intersect1d(one, shingles(" ".join(words[::-1])))) == 0
    assert len(shingles("only three words")) == len(shingles("?!")) == 1


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_near_duplicates_do_not_depend_on_blocks(prose: Prose, size: int, tmp_path: Path) -> None:
    """As datasketch finds them one by one, whatever the documents that are looked up together."""
    texts = [edit(prose(i % 40), 20 + i // 2) for i in range(160)]
    random.Random(1).shuffle(texts)
    near = NearDuplicates(0.7, 5, tmp_path / "signatures.bin")
    stays = []
    for start in range(0, len(texts), size):
        block = texts[start : start + size]
        near.block(block)
        stays += [near.add(place) for place in range(len(block))]
    assert stays == one_by_one(texts, 0.7, 5)
    assert 40 < sum(stays) < 140


def one_by_one(texts: list[str], threshold: float, seed: int) -> list[bool]:
    index = MinHashLSH(threshold=threshold, num_perm=64, weights=(0.2, 0.8))
    seen: dict[int, MinHash] = {}
    stays = []
    for number, text in enumerate(texts):
        signature = MinHash(num_perm=64, seed=seed, hashfunc=int, scheme="affine32")
        signature.update_batch(shingles(text).tolist())
        found = index.query(signature)
        stays.append(all(signature.jaccard(seen[other]) < threshold for other in found))
        if stays[-1]:
            index.insert(number, signature)
            seen[number] = signature
    return stays
