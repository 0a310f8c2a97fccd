"""Text to token files: sources, cleaning, split, tokenizer, overlap, shards."""

from scalelab.corpus.prepare import prepare
from scalelab.corpus.shards import Corpus, load

__all__ = ["Corpus", "load", "prepare"]
