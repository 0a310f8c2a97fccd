"""What a study must say beside `source: synthetic`, so that the text stays what theory knows."""

from scalelab.config import CorpusConfig
from scalelab.errors import UserError
from scalelab.plan.misfits import misfits

NAME = "synthetic"
"""The source, and the section of `corpus` that it alone reads."""
FACTS = 2047
"""Facts in a document."""
DOCUMENT_TOKENS = 2 * FACTS + 1
"""A key and a value for each, and the separator after it."""
BYTE_TOKENS = 257
"""Ids of a BPE vocabulary before the first merge; each key is one merge."""
SMALLEST_SPLIT = 50 * DOCUMENT_TOKENS
"""A held-out document may fill 1/50 of its split, and is cut where it is longer."""


def check(config: CorpusConfig) -> None:
    """Raise `UserError` where the section is missing or out of place, or a step would change text.

    Facts repeat, so that duplicates and overlaps are what the text is made of; a document that is
    cut, and a key that is not one token, have another entropy than the one that is stated.
    """
    if (config.synthetic is not None) != (config.source == NAME):
        found = "no such section" if config.synthetic is None else f"source {config.source!r}"
        raise UserError(
            f"corpus.synthetic: found {found}, expected this section with the source {NAME!r} and "
            "with no other"
        )
    if config.synthetic is None:
        return
    vocabulary = BYTE_TOKENS + config.synthetic.keys
    wanted = {
        "tokenizer": (config.tokenizer == "bpe", config.tokenizer, "bpe"),
        "vocab_size": (config.vocab_size == vocabulary, config.vocab_size, f"{vocabulary}"),
        "near_duplicate_threshold": (
            config.near_duplicate_threshold is None,
            config.near_duplicate_threshold,
            "null",
        ),
        "overlap_tokens": (not config.overlap_tokens, config.overlap_tokens, "0"),
        "canaries": (config.canaries is None, "such a section", "none"),
        "max_bytes": (config.max_bytes is None, config.max_bytes, "null (see synthetic.tokens)"),
        "min_document_bytes": (
            config.min_document_bytes <= 3 * FACTS,
            config.min_document_bytes,
            f"at most {3 * FACTS}",
        ),
    }
    for name in ("test_tokens", "tuning_tokens"):
        size = getattr(config, name)
        wanted[name] = (size >= SMALLEST_SPLIT, size, f"at least {SMALLEST_SPLIT}")
    if wrong := misfits(wanted):
        raise UserError(f"corpus: the source {NAME!r} would lose its known entropy ({wrong})")
