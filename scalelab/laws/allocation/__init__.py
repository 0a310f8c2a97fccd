"""The best N and D for a budget: parametric, IsoFLOP, envelope."""
