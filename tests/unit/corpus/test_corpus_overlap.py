import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelab.corpus import overlap
from scalelab.corpus.overlap import (
    HashSet,
    free_runs,
    random_table,
    repeated_elsewhere,
    shared_windows,
    window_hashes,
)

TABLE = random_table(300, 1)


def windows(ids: np.ndarray, width: int) -> list[tuple[int, ...]]:
    return [tuple(ids[i : i + width].tolist()) for i in range(len(ids) - width + 1)]


@pytest.mark.parametrize("width", [1, 2, 3, 5, 7, 8, 31, 32, 33])
def test_hashes_are_equal_just_where_windows_are(width: int) -> None:
    ids = np.random.default_rng(0).integers(0, 2, 400).astype(np.uint16)
    found = window_hashes(ids, width, TABLE)
    rows = windows(ids, width)
    assert len(found) == len(rows)
    assert len(set(found.tolist())) == len(set(rows))
    assert len(set(zip(found.tolist(), rows, strict=True))) == len(set(rows))


def test_hash_is_the_polynomial() -> None:
    ids = np.array([3, 1, 4, 1, 5], dtype=np.uint16)
    total = 0
    for index in ids:
        total = (total * 0x9E3779B97F4A7C15 + int(TABLE[index])) % 2**64
    assert window_hashes(ids, 5, TABLE).tolist() == [total]
    assert len(window_hashes(ids, 6, TABLE)) == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(2, 5))
def test_cover_agrees_with_brute_force(seed: int, width: int, letters: int) -> None:
    rng = np.random.default_rng(seed)
    documents = [rng.integers(1, letters + 1, rng.integers(0, 30)) for _ in range(4)]
    rest = rng.integers(0, letters + 1, 40)
    found = repeated_elsewhere(documents, rest, width, TABLE)
    for number, ids in enumerate(documents):
        others = {w for i, d in enumerate(documents) if i != number for w in windows(d, width)}
        others |= set(windows(rest, width))
        expected = np.zeros(len(ids), dtype=bool)
        for place, window in enumerate(windows(ids, width)):
            if window in others:
                expected[place : place + width] = True
        assert np.array_equal(found[number], expected)


def test_repetition_inside_one_document_is_not_elsewhere() -> None:
    ids = np.tile(np.arange(1, 11), 3)
    (found,) = repeated_elsewhere([ids], np.zeros(5, dtype=int), 4, TABLE)
    assert not found.any()


def test_blocks_lose_no_window(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    document, rest = rng.integers(1, 5, 50), rng.integers(0, 5, 500)
    expected = repeated_elsewhere([document], rest, 5, TABLE)[0]
    assert expected.any() and not expected.all()
    monkeypatch.setattr(overlap, "_BLOCK", 7)
    assert np.array_equal(repeated_elsewhere([document], rest, 5, TABLE)[0], expected)


def test_shared_windows_leave_out_those_with_a_separator() -> None:
    stream = np.array([0, 1, 2, 3, 0, 4, 5, 6, 7, 0])
    assert shared_windows(stream, np.array([0, 5, 6, 7, 0]), 3, 0, TABLE) == (1, 3)
    assert shared_windows(stream, stream, 3, 0, TABLE) == (3, 3)
    assert shared_windows(stream, stream, 5, 0, TABLE) == (0, 0)


def test_free_runs() -> None:
    covered = np.array([0, 0, 1, 0, 0, 0, 1, 1, 0], dtype=bool)
    assert free_runs(covered, 1) == [(0, 2), (3, 6), (8, 9)]
    assert free_runs(covered, 3) == [(3, 6)]
    assert free_runs(np.ones(3, dtype=bool), 1) == free_runs(np.zeros(0, dtype=bool), 1) == []


def test_hash_set_finds_members_and_nothing_else() -> None:
    values = np.random.default_rng(3).integers(0, 2**64, 2000, dtype=np.uint64)
    known = HashSet(values[:1000])
    places, index = known.places(values)
    assert places.tolist() == list(range(1000))
    assert np.array_equal(known.values[index], values[:1000])
    # Neighbours share the top bits, which the first test looks at.
    assert len(known.places(values[:1000] + np.uint64(1))[0]) == 0
