"""scalelab: scaling laws as a measurement, from text to paper figure."""

__version__ = "0.1.0"
