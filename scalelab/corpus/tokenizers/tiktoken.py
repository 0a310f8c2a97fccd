"""Encodings of tiktoken, as tokenizers of the tokenizers library."""

import json
import re
from collections.abc import Iterable
from typing import Any

from tokenizers import AddedToken, Tokenizer

from scalelab.corpus.tokenizers import Report, kind
from scalelab.plan import ranks
from scalelab.plan.tokenizers import find


@kind("tiktoken")
def tiktoken(config: dict[str, Any], sample: Iterable[str], report: Report) -> Tokenizer:
    """Ids, special tokens included, as tiktoken gives them."""
    found = find(config["tokenizer"])
    if found.folder is None:
        encoding = ranks.named(found.name)
    else:
        encoding = ranks.of_file(found.folder / found.files[0])
    report(f"corpus: tokenizer {config['tokenizer']} of {encoding.size:,} ids")
    return converted(encoding)


def converted(encoding: ranks.Encoding) -> Tokenizer:
    """Merges from ranks, by transformers' converter, and special tokens at their own ids.

    Oniguruma, the library's regular expressions, takes `{m,n}+` for a repeat of the repeat where
    tiktoken takes it for a possessive one; nothing follows it in tiktoken's patterns, so the plus
    is left out.
    """
    from transformers.convert_slow_tokenizer import TikTokenConverter

    class Ranks(TikTokenConverter):  # type: ignore[misc]
        @staticmethod
        def load_tiktoken_bpe(tiktoken_url: str) -> dict[bytes, int]:
            return encoding.ranks

    pattern = {} if encoding.pattern is None else {"pattern": _possessive(encoding.pattern)}
    tokenizer = Ranks(vocab_file="", **pattern).converted()
    # Special tokens are written into the vocabulary, since the library numbers added ones on.
    described = json.loads(tokenizer.to_str())
    described["model"]["vocab"] |= encoding.special
    made = Tokenizer.from_str(json.dumps(described))
    made.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in encoding.special]
    )
    return made


def _possessive(pattern: str) -> str:
    return re.sub(r"(\{\d+(?:,\d*)?\})\+", r"\1", pattern)
