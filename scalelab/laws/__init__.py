"""Scaling laws: fits with intervals that say what they mean, without training anything.

`fit` takes a pandas table with one row a run (N and loss_nats) and returns a `FitResult` with
`predict`, `interval`, `summary`, `to_json` and `to_latex`.
"""

from scalelab.laws.bootstrap import Bootstrap
from scalelab.laws.fitting import bootstrap, fit, restore
from scalelab.laws.registry import discover, get
from scalelab.laws.result import FitResult, predict, to_frame
from scalelab.laws.study import fit_study
from scalelab.laws.table import read_runs

__all__ = [
    "Bootstrap",
    "FitResult",
    "bootstrap",
    "discover",
    "fit",
    "fit_study",
    "get",
    "predict",
    "read_runs",
    "restore",
    "to_frame",
]
