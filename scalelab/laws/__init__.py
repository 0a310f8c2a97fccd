"""Scaling laws: fits with intervals that say what they mean, without training anything.

`fit` takes a pandas table with one row a run (N and loss_nats) and returns a `FitResult` with
`predict`, `interval`, `summary`, `to_json` and `to_latex`; `compare` judges several laws;
`allocate`, `isoflop` and `envelope` find the best N and D; `published` holds laws from papers.
"""

from scalelab.laws import published
from scalelab.laws.allocation.allocate import allocate
from scalelab.laws.allocation.envelope import envelope
from scalelab.laws.allocation.isoflop import isoflop
from scalelab.laws.fitting import bootstrap, fit, restore
from scalelab.laws.judgement.select import compare
from scalelab.laws.registry import discover, get
from scalelab.laws.result import FitResult, predict, to_frame
from scalelab.laws.runs.table import read_runs
from scalelab.laws.study import fit_study
from scalelab.laws.uncertainty.bootstrap import Bootstrap

__all__ = [
    "Bootstrap",
    "FitResult",
    "allocate",
    "bootstrap",
    "compare",
    "discover",
    "envelope",
    "fit",
    "fit_study",
    "get",
    "isoflop",
    "predict",
    "published",
    "read_runs",
    "restore",
    "to_frame",
]
