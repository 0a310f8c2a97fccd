"""One file a law; each registers itself when imported (see `scalelab.laws.registry`)."""
