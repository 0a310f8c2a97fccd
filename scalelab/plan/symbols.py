"""Sources that are no text: pixels or samples, one ASCII character for each level."""

from dataclasses import replace
from typing import Any

from scalelab.config import CorpusConfig, Study
from scalelab.errors import UserError
from scalelab.plan.misfits import misfits

SYMBOLS = {"images": "pixel", "series": "sample"}
"""Such sources, and what a symbol of each is."""
AXIS = "corpus.source"
"""The axis whose values are kinds of sequence."""
FONTS = "matplotlib"
"""The distribution whose fonts the source images draws."""


def unit(source: str) -> str:
    """What a loss per byte of a source is in: with one byte a symbol, bits per symbol."""
    return f"bits per {SYMBOLS.get(source, 'byte')}"


def of_several_kinds(study: Study) -> bool:
    """Whether an axis has sequences that are no text, so that the runs have no loss in common."""
    return any(source in SYMBOLS for source in study.axes.get(AXIS, ()))


def law_of_each_kind(study: Study) -> dict[str, Any]:
    """The answer that such a study asks for."""
    units = {source: unit(source) for source in study.axes[AXIS]}
    return {"answer": "modalities", "axis": "source", "units": units}


def check(config: CorpusConfig) -> None:
    """Raise `UserError` where symbols would be read as text, or are made without end."""
    if config.source not in SYMBOLS:
        return
    wanted = {
        "tokenizer": (config.tokenizer == "bytes", config.tokenizer, "bytes"),
        "max_bytes": (config.max_bytes is not None, None, "how many symbols to make"),
        "cleaning": (config.cleaning is None, "a section", "none"),
        "benchmarks": (config.benchmarks is None, "a section", "none"),
    }
    if wrong := misfits(wanted):
        raise UserError(
            f"corpus: the source {config.source!r} gives {SYMBOLS[config.source]}s, not text "
            f"({wrong})"
        )


def as_read(config: CorpusConfig) -> CorpusConfig:
    """The configuration without the steps that are for text, where the source is none.

    A flat background is the same in every image, which the removal of overlaps would cut out; near
    duplicates are told by words, and an image is short for a text.
    """
    if config.source not in SYMBOLS:
        return config
    return replace(config, near_duplicate_threshold=None, overlap_tokens=0, min_document_bytes=0)
