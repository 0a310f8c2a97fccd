"""Models: a registry of families, each built from a `Shape`, and their export to transformers."""

from scalelab.models.registry import LanguageModel, attend_to, build, export, load_weights

__all__ = ["LanguageModel", "attend_to", "build", "export", "load_weights"]
