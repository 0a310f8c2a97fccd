"""Columns of runs.csv that belong together."""

SETTING = ("threads", "precision", "processes", "device")
"""What decides, beside the model, how quick a run is: rates compare within one setting only."""
