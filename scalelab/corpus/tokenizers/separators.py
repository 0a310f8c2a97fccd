"""Which token stands between documents."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from scalelab.errors import UserError

SEPARATOR = "<|endoftext|>"
"""Of the tokenizers that are made here."""
USUAL = (
    *(SEPARATOR, "</s>", "<|end_of_text|>", "<|eot_id|>", "<eos>", "<|im_end|>", "[EOS]"),
    *("<s>", "<bos>", "<|begin_of_text|>", "[BOS]", "[SEP]"),
)
"""Tokens that end a text, or else begin one, in the order of preference."""


def separator_of(
    tokenizer: Tokenizer, asked: str | None = None, settings: Sequence[Path] = ()
) -> tuple[str, int]:
    """The token that separates documents, and its id.

    It is `asked` for; or the one that the files `settings` call the end of a text (`eos_token`);
    or the first of the usual ones that the vocabulary holds.

    Raises:
        UserError: there is none; the special tokens are named.
    """
    special = {token.content: i for i, token in tokenizer.get_added_tokens_decoder().items()}
    if asked is not None:
        found = tokenizer.token_to_id(asked)
        if found is None:
            raise UserError(
                f"corpus.separator: the tokenizer has no token {asked!r}, expected one of "
                f"{_names(special)}"
            )
        return asked, found
    for name in (_declared(settings), *USUAL):
        found = None if name is None else tokenizer.token_to_id(name)
        if name is not None and found is not None:
            return name, found
    raise UserError(
        "corpus.separator: the tokenizer names no token that ends a text; give one of its tokens, "
        f"such as {_names(special)}"
    )


def _declared(settings: Sequence[Path]) -> str | None:
    """`eos_token` of the files beside a tokenizer.json."""
    for path in settings:
        try:
            held: Any = json.loads(path.read_text(encoding="utf-8"))
            token = held.get("eos_token")
        except (OSError, ValueError, AttributeError):
            continue
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str):
            return token
    return None


def _names(special: dict[str, int]) -> str:
    names = [repr(name) for name in special]
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return (", ".join(names[:12]) + more) or "its vocabulary (it has no special tokens)"
