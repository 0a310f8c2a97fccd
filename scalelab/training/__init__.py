"""Training: the recipe of a run, its loop, its state and its checkpoint."""
