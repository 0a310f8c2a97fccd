"""One file a model family: its module and its export to transformers."""
