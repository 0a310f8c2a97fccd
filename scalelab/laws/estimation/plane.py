"""Ordinary least squares of a plane, with Student's t intervals of its coefficients."""

import numpy as np

from scalelab.laws.registry import Array


def plane(design: Array, target: Array, level: float) -> tuple[list[list[float]], float]:
    """(value, low, high) of each coefficient, and the variance of the residuals.

    design: (n, p) of full rank, n > p; target: (n,). Draper and Smith 1998, section 5.1.
    """
    from scipy.special import stdtrit

    spare = len(target) - design.shape[1]
    found, *_ = np.linalg.lstsq(design, target, rcond=None)
    left = target - design @ found
    variance = float(left @ left) / spare
    spread = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    away = float(stdtrit(spare, 0.5 + level / 2)) * spread
    triples = [[float(v), float(v - w), float(v + w)] for v, w in zip(found, away, strict=True)]
    return triples, variance
