"""IsoFLOP profiles as they are drawn: the parabola, the interval of its minimum, what to add."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scalelab.laws.allocation.isoflop import Profile
from scalelab.laws.allocation.vertex import Ends, Parabola, parabola, within

POINTS = 33


def profile_blocks(profiles: Sequence[Profile], level: float) -> list[dict[str, Any]]:
    """Each profile's JSON with `curve`, the fitted parabola over the sizes used, [[N, loss], ...],
    and `N_opt_interval` by Fieller's theorem.

    The noise is that of the residuals of all profiles together: one parabola leaves one or two
    degrees of freedom, and a run has the same noise in each.
    """
    found = [_fit(profile) for profile in profiles]
    square = sum(one.square for one in found if one)
    spare = sum(one.spare for one in found if one)
    blocks = []
    for profile, one in zip(profiles, found, strict=True):
        curve: list[list[float]] = []
        ends: Ends = (None, None)
        if one is not None and profile.refused is None:
            grid = np.linspace(*one.reach, POINTS)
            losses = one.at(grid)
            curve = [[float(np.exp(u)), float(v)] for u, v in zip(grid, losses, strict=True)]
            if spare > 0:
                ends = one.interval(square / spare, spare, level)
                ends = within(ends, np.log(profile.n[0]), np.log(profile.n[-1]))
        low, high = (None if end is None else float(np.exp(end)) for end in ends)
        blocks.append({**profile.to_json(), "curve": curve, "N_opt_interval": [low, high]})
    return blocks


def _fit(profile: Profile) -> Parabola | None:
    return parabola(np.log(profile.n[profile.used]), np.log(profile.loss[profile.used]))


def sizes_to_add(profiles: Sequence[Profile]) -> list[str]:
    """A sentence for each budget whose minimum is at an end of its sizes: the size to add there.

    The size is one more step of the grid, in logarithm.
    """
    told = []
    for profile in profiles:
        n, best = profile.n, int(np.argmin(profile.loss))
        if len(n) < 2:
            continue
        low = best == 0 or (profile.at_edge and (profile.n_opt or 0) < np.sqrt(n[0] * n[-1]))
        high = best == len(n) - 1 or (profile.at_edge and not low)
        if low or high:
            end, near = (n[0], n[1]) if low else (n[-1], n[-2])
            which = "smallest" if low else "largest"
            told.append(
                f"C = {profile.flops:.3g}: the minimum is at or near the {which} size, "
                f"N = {end:.4g}: add N = {end * end / near:.3g} to this budget"
            )
    return told
