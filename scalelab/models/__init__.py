"""Models: a registry of families, each built from a `Shape`, and their export to transformers."""

from scalelab.models.registry import build, export, load_weights

__all__ = ["build", "export", "load_weights"]
