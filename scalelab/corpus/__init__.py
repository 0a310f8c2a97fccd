"""Text to token files: sources, cleaning, split, tokenizer, overlap, shards.

Preparing a corpus is `scalelab.corpus.prepare`. It is not imported here: training and evaluation
read shards alone, and the libraries for cleaning would cost each of their jobs a second.
"""

from scalelab.corpus.shards import Corpus, load

__all__ = ["Corpus", "load"]
