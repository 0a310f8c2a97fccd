"""The corpus on the page: what it holds and what was taken out of it."""

from collections.abc import Mapping
from typing import Any

from scalelab.corpus.documents import is_left_out

LANGUAGES = 8
"""Languages that are named, the most frequent ones."""


def shown(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says of a corpus: its text, what was left out at each step, splits, hash.

    Args:
        manifest: of the corpus; under `card` its report card, where there is one.
    """
    config = (manifest.get("spec") or {}).get("config") or {}
    read, removed = manifest.get("read") or {}, manifest.get("removed") or {}
    steps = [
        (f"left out: {name}" if is_left_out(name) else name, tally)
        for name, tally in read.items()
        if name != "read"
    ]
    cleaning = manifest.get("cleaning") or {}
    steps += [(f"cleaning: {name}", count["removed"]) for name, count in cleaning.items()]
    steps += [(f"removed: {name}", tally) for name, tally in removed.items()]
    if manifest.get("canaries"):
        steps.append(("planted: canaries", manifest["canaries"]))
    return {
        "id": manifest.get("id", ""),
        "hash": manifest.get("data_hash", ""),
        "source": config.get("source", ""),
        "read": read.get("read"),
        "text": manifest.get("text") or {},
        "tokenizer": manifest.get("tokenizer") or {},
        "steps": steps,
        "splits": manifest.get("splits") or {},
        "overlap": manifest.get("overlap") or {},
        "changed": [
            (name, count["changed"], told(count["found"])) for name, count in cleaning.items()
        ],
        "benchmarks": cleaning.get("benchmarks"),
        "card": card(manifest["card"]) if manifest.get("card") else None,
    }


def told(found: Mapping[str, int]) -> str:
    """What a step of cleaning counted itself, as words: `email 3, phone 1`."""
    return ", ".join(f"{name} {count:,}" for name, count in found.items())


def card(found: Mapping[str, Any]) -> dict[str, Any]:
    """The report card: languages by share and the lengths of documents with bars in percent."""
    languages = found["languages"]
    counts = languages["documents"]
    bins = found["lengths"]["bins"]
    most = max((one["documents"] for one in bins), default=0)
    return {
        "bytes_per_token": found["bytes_per_token"],
        "vocabulary": found["vocabulary"],
        "duplicates": found["duplicates"],
        "languages": None
        if counts is None
        else [
            (name, count / max(languages["sampled_documents"], 1))
            for name, count in list(counts.items())[:LANGUAGES]
        ],
        "sampled": languages["sampled_documents"],
        "lengths": found["lengths"],
        "bins": [
            {
                "name": f"{one['from_tokens']:,} to {one['below_tokens'] - 1:,}",
                "documents": one["documents"],
                "tokens": one["tokens"],
                "bar": 100 * one["documents"] / max(most, 1),
            }
            for one in bins
        ],
    }
