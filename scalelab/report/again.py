"""The fits of laws.json made again, for what the file does not hold: intervals at other points.

Nothing new is fitted: the points, the settings and the seed are those of the file, and a fit whose
constants are not the file's is not used.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scalelab.errors import UserError
from scalelab.figures.study import Study
from scalelab.laws import registry
from scalelab.laws.fitting import restore
from scalelab.laws.result import FitResult
from scalelab.laws.shapes.sums import PowerSum

Fits = Sequence[FitResult | None]


def fits_again(study: Study) -> list[FitResult | None]:
    """One for each fit of the study; None for one that holds no points or gives other constants."""
    return [_again(block) for block in study.fits]


def _again(block: Mapping[str, Any]) -> FitResult | None:
    if any(key not in block for key in ("settings", "y", "excluded")):
        return None
    try:
        found = restore(block)
    except (UserError, KeyError):
        return None
    if found is None:
        return None
    theirs = [block["params"].get(name, np.nan) for name in found.params]
    same = np.allclose(theirs, list(found.params.values()), rtol=1e-4, atol=1e-6)
    return found if same else None


def power_sum(law: str) -> PowerSum | None:
    """A law that is a sum of falling powers; None for any other, or one that is not known."""
    try:
        form = registry.get(law)
    except UserError:
        return None
    return form if isinstance(form, PowerSum) else None


def fall(fit: FitResult | None, x: float) -> tuple[float, float, float] | None:
    """Law at x less law at 10 x, with the ends of its interval; None where these are not had.

    Of a law of one column that is a sum of powers: sum_k A_k x^-alpha_k (1 - 10^-alpha_k).
    """
    form = power_sum(fit.law) if fit else None
    if fit is None or form is None or len(fit.columns) != 1:
        return None

    def difference(p: Mapping[str, Any]) -> Any:
        parts = [
            np.exp(np.log(p[a]) - p[b] * np.log(x)) * (1 - np.exp(-p[b] * np.log(10)))
            for a, b, _ in form.terms
        ]
        return sum(parts[1:], parts[0])

    low, high = fit.interval_of(difference)
    if low is None or high is None:
        return None
    return float(difference({k: np.float64(v) for k, v in fit.params.items()})), low, high
