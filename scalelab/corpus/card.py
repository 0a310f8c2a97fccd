"""The report card of a corpus: what it holds, on one page, gathered document by document."""

import contextlib
import hashlib
import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from scalelab.corpus.documents import utf8_size
from scalelab.corpus.language import Languages, judged
from scalelab.corpus.zone import UNUSED
from scalelab.errors import UserError

SAMPLE = 2000
"""Documents whose language is looked at."""
DETERMINED = 0.65
"""Probability below which a language counts as undetermined (Penedo et al. 2024, section 3.2)."""
DUPLICATES = ("exact duplicate", "near duplicate")


class Card:
    """Adds up documents; its memory does not grow with their number.

    Lengths are counted in bins of [2^k, 2^(k+1)) tokens. The sample for languages is the documents
    whose hashes are least, so it does not depend on the order in which they come.
    """

    def __init__(self, sample: int = SAMPLE, languages: bool = True) -> None:
        self._documents = self._bytes = self._tokens = 0
        self._lengths: Counter[int] = Counter()
        self._tokens_by_length: Counter[int] = Counter()
        self._shortest: int | None = None
        self._longest = 0
        self._room = sample
        self._sample: list[tuple[int, str]] = []
        self._languages: Languages | None = None
        if languages:
            with contextlib.suppress(UserError):  # an optional library: the card then says unknown
                self._languages = Languages()

    def add(self, text: str, token_count: int) -> None:
        """Count one document of `token_count` tokens, separators left out."""
        self._documents += 1
        self._bytes += utf8_size(text)
        self._tokens += token_count
        self._lengths[token_count.bit_length()] += 1
        self._tokens_by_length[token_count.bit_length()] += token_count
        self._longest = max(self._longest, token_count)
        if self._shortest is None or token_count < self._shortest:
            self._shortest = token_count
        if self._languages is not None:
            self._keep(text)

    def _keep(self, text: str) -> None:
        code = hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest()
        key = -int.from_bytes(code, "big")  # a heap gives up its least: here the largest hash
        if len(self._sample) < self._room:
            heapq.heappush(self._sample, (key, judged(text)))
        elif key > self._sample[0][0]:
            heapq.heapreplace(self._sample, (key, judged(text)))

    def as_dict(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """The card.

        Args:
            manifest: of the corpus; `tokenizer`, `read`, `removed`, the parts of a mixture in
                `text` and, where there was cleaning, `cleaning` are taken from it.
        """
        tokenizer, removed = manifest["tokenizer"], manifest["removed"]
        gone = {reason: count for reason, count in removed.items() if reason != UNUSED}
        seen = self._documents + sum(count["documents"] for count in gone.values())
        return {
            "id": manifest["id"],
            "data_hash": manifest["data_hash"],
            "documents": self._documents,
            "bytes": self._bytes,
            "tokens": self._tokens,
            "bytes_per_token": self._bytes / max(self._tokens, 1),
            "vocabulary": {
                "size": tokenizer["vocab_size"],
                "used": tokenizer["ids_used_in_training"],
                "share_used": tokenizer["ids_used_in_training"] / tokenizer["vocab_size"],
            },
            "duplicates": {
                reason: {
                    **(removed.get(reason) or {"documents": 0, "bytes": 0}),
                    "share_of_documents": (removed.get(reason) or {"documents": 0})["documents"]
                    / max(seen, 1),
                }
                for reason in DUPLICATES
            },
            "languages": self._found_languages(),
            "lengths": self._histogram(),
            "read": manifest["read"],
            "removed": removed,
            "cleaning": manifest.get("cleaning") or {},
            "parts": (manifest.get("text") or {}).get("parts") or {},
        }

    def _found_languages(self) -> dict[str, Any]:
        if self._languages is None:
            return {"sampled_documents": 0, "documents": None}
        counts: Counter[str] = Counter()
        for _, text in self._sample:
            code, probability = self._languages.identify(text)
            counts[code if probability >= DETERMINED else "undetermined"] += 1
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return {"sampled_documents": len(self._sample), "documents": dict(ordered)}

    def _histogram(self) -> dict[str, Any]:
        bins = range(min(self._lengths), max(self._lengths) + 1) if self._lengths else range(0)
        return {
            "shortest_tokens": self._shortest or 0,
            "longest_tokens": self._longest,
            "mean_tokens": self._tokens / max(self._documents, 1),
            "bins": [
                {
                    "from_tokens": 1 << k - 1 if k else 0,
                    "below_tokens": 1 << k,
                    "documents": self._lengths[k],
                    "tokens": self._tokens_by_length[k],
                }
                for k in bins
            ],
        }


def text_card(card: Mapping[str, Any]) -> str:
    """The card as a table for a terminal."""
    return "\n".join(line.rstrip() for line in _lines(card)) + "\n"


def _lines(card: Mapping[str, Any]) -> Iterator[str]:
    vocabulary, lengths = card["vocabulary"], card["lengths"]
    yield f"corpus {card['id']}"
    yield ""
    yield f"  {'documents':<22}{card['documents']:>16,}"
    yield f"  {'bytes':<22}{card['bytes']:>16,}"
    yield f"  {'tokens':<22}{card['tokens']:>16,}"
    yield f"  {'bytes per token':<22}{card['bytes_per_token']:>16.3f}"
    used = f"{vocabulary['used']:,} of {vocabulary['size']:,}"
    yield f"  {'vocabulary used':<22}{used:>16}  {vocabulary['share_used']:.1%}"
    for reason, count in card["duplicates"].items():
        share = f"{count['share_of_documents']:.1%} of documents"
        yield f"  {reason + 's':<22}{count['documents']:>16,}  {share}"
    for name, part in card.get("parts", {}).items():
        share = f"{part['bytes'] / max(card['bytes'], 1):.1%} of bytes"
        yield f"  {'part ' + name:<22}{part['documents']:>16,}  {share}"
    yield ""
    yield from _language_lines(card["languages"])
    yield ""
    yield "tokens in a document"
    most = max((one["documents"] for one in lengths["bins"]), default=0)
    for one in lengths["bins"]:
        bar = "#" * round(40 * one["documents"] / max(most, 1))
        ends = f"{one['from_tokens']:,} to {one['below_tokens'] - 1:,}"
        yield f"  {ends:<22}{one['documents']:>16,}  {bar}"
    yield (
        f"  shortest {lengths['shortest_tokens']:,}, mean {lengths['mean_tokens']:,.1f}, "
        f"longest {lengths['longest_tokens']:,}"
    )
    if card["cleaning"]:
        yield ""
        yield f"{'cleaning':<24}{'changed':>16}{'removed':>16}"
        for name, count in card["cleaning"].items():
            changed, removed = count["changed"]["documents"], count["removed"]["documents"]
            told = ", ".join(f"{key} {value:,}" for key, value in count["found"].items())
            yield f"  {name:<22}{changed:>16,}{removed:>16,}  {told}"


def _language_lines(languages: Mapping[str, Any]) -> Iterator[str]:
    counts, total = languages["documents"], languages["sampled_documents"]
    if counts is None:
        yield "languages: unknown (pip install 'scalelab[text]' before the corpus is prepared)"
        return
    yield f"languages of {total:,} documents"
    shown = list(counts.items())
    for code, count in shown[:10]:
        yield f"  {code:<22}{count:>16,}  {count / max(total, 1):.1%}"
    if len(shown) > 10:
        yield f"  {'others':<22}{sum(count for _, count in shown[10:]):>16,}"
