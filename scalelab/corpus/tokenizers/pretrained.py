"""Tokenizers of transformers and of the tokenizers library, by name on the hub or by path."""

import json
import re
from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer

from scalelab.corpus.tokenizers import Report, kind
from scalelab.errors import UserError
from scalelab.plan.tokenizers import find, open_slow, vocabulary_file


@kind("pretrained")
def pretrained(config: dict[str, Any], sample: Iterable[str], report: Report) -> Tokenizer:
    """Read as it is; what would cut or fill up texts is left out."""
    found = find(config["tokenizer"])
    path = vocabulary_file(found)
    if path is None:
        tokenizer = open_slow(found)
    else:
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises no type of its own
            raise UserError(
                f"{path}: expected a tokenizer of the tokenizers library, but it cannot be read "
                f"({error})"
            ) from None
    report(f"corpus: tokenizer {config['tokenizer']} of {tokenizer.get_vocab_size():,} tokens")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return guarded(tokenizer)


def guarded(tokenizer: Tokenizer) -> Tokenizer:
    """A tokenizer for which a special token that is written out in a text is text.

    The library leaves special tokens in a text to the model. A unigram model finds them all the
    same where they are pieces of it (`</s>` of SentencePiece), so their first character is kept
    apart there; other text is cut as before.
    """
    described = json.loads(tokenizer.to_str())
    if described["model"].get("type") != "Unigram":
        return tokenizer
    pieces = {piece for piece, _ in described["model"]["vocab"]}
    special = [row["content"] for row in described["added_tokens"] if row["special"]]
    marks = [name for name in special if name in pieces and len(name) > 1]
    if not marks:
        return tokenizer
    pattern = "|".join(f"{re.escape(name[0])}(?={re.escape(name[1:])})" for name in marks)
    cut = {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }
    before = described["pre_tokenizer"]
    if before is not None and before.get("type") == "Sequence":
        steps = [*before["pretokenizers"], cut]
    else:
        steps = [cut] if before is None else [before, cut]
    described["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
    return Tokenizer.from_str(json.dumps(described))
