"""The type of token ids, apart from what makes them, so that training hangs on no tokenizer."""

import numpy as np

from scalelab.errors import UserError

MOST_IDS = 2**32


def token_dtype(vocab_size: int) -> np.dtype:
    """uint16 up to 65,536 ids, uint32 up to 2^32.

    Raises:
        UserError: there are more.
    """
    if vocab_size > MOST_IDS:
        raise UserError(f"corpus: {vocab_size:,} ids, expected at most {MOST_IDS:,}")
    return np.dtype("<u2") if vocab_size <= 65_536 else np.dtype("<u4")
