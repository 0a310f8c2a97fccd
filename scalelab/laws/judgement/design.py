"""Checks of which sizes and tokens were chosen: what they can and cannot tell apart."""

from typing import Any

import numpy as np

from scalelab.laws.judgement.checks import few, line, numbers
from scalelab.laws.runs.points import Points

SAME = 0.02
TOGETHER = 0.9
"""Correlation of the logs of two x above which their terms are hardly told apart."""
PROFILE_SIZES = 4
"""Sizes at one FLOP budget from which they count as an IsoFLOP profile."""


def design(points: Points) -> dict[str, Any] | None:
    """What a law of N alone means, from how D goes along with N."""
    column = points.columns[0]
    tokens = numbers(points, "D")
    if len(points.columns) > 1 or column not in ("N", "N_total") or tokens is None:
        return None
    ratio = tokens / points.x[points.frame["_point"].to_numpy(), 0]
    if tokens.max() / tokens.min() < 1 + SAME:
        return line(
            "design",
            True,
            f"every size saw the same D = {np.median(tokens):.4g} tokens: this is L(N) at that D, "
            "and E holds the loss from limited data too",
        )
    if ratio.max() / ratio.min() < 1 + SAME:
        return line(
            "design",
            True,
            f"D / {column} = {np.median(ratio):.4g} at every size: this is the law "
            "along that ray, alpha mixes the exponents of N and D, and E is the loss of both "
            "without limit",
        )
    return line(
        "design",
        False,
        f"neither D nor D / {column} is the same at all sizes (D / {column} from "
        f"{ratio.min():.3g} to {ratio.max():.3g}): one curve in {column} mixes both",
    )


def identification(points: Points) -> dict[str, Any] | None:
    """Whether two x columns vary enough, and apart from each other, to tell their terms apart."""
    if len(points.columns) < 2:
        return None
    logs = np.log(points.x)
    decades = np.ptp(logs, axis=0) / np.log(10)
    found = [
        f"{c} spans {d:.2f} decades, under one, so its term is hardly told from the floor"
        for c, d in zip(points.columns, decades, strict=True)
        if d < 1 - 1e-9
    ]
    together = float(np.abs(np.corrcoef(logs[:, :2].T)[0, 1]))
    names = " and ".join(points.columns[:2])
    if together > TOGETHER:
        found.append(
            f"{names} go together (correlation of logs {together:.3f}), so their terms are hardly "
            "told apart: runs with other ratios of them would help"
        )
    text = f"{names} vary apart (correlation of logs {together:.2f})"
    return line("identification", not found, "; ".join(found) or text)


def profile_edge(points: Points) -> dict[str, Any] | None:
    """IsoFLOP profiles whose least loss is at their smallest or largest size."""
    if len(points.columns) < 2:
        return None
    frame, size = points.frame, points.x[:, 0]
    flops = next((v for c in ("C_6ND", "C") if (v := numbers(points, c)) is not None), None)
    if flops is None and points.columns[1] == "D":
        flops = 6 * frame[points.columns[0]].to_numpy(float) * frame["D"].to_numpy(float)
    if flops is None:
        return None
    cost = np.bincount(frame["_point"], flops) / np.bincount(frame["_point"])
    order = np.argsort(cost, kind="stable")
    starts = np.flatnonzero(np.diff(np.log(cost[order]), prepend=-np.inf) > SAME)
    groups = [g for g in np.split(order, starts[1:]) if len(set(size[g])) >= PROFILE_SIZES]
    if len(groups) < 2 or sum(len(g) for g in groups) < len(size) / 2:
        return None
    edge = []
    for group in groups:
        best = size[group[int(np.argmin(points.log_loss[group]))]]
        if best in (size[group].min(), size[group].max()):
            edge.append(f"C = {cost[group].mean():.3g}")
    if not edge:
        text = f"each of {len(groups)} IsoFLOP profiles has its least loss inside its sizes"
        return line("isoflop edge", True, text)
    return line(
        "isoflop edge",
        False,
        f"the least loss is at the smallest or largest size in {len(edge)} of {len(groups)} "
        f"IsoFLOP profiles, so they do not bracket an optimum: {few(edge)}",
    )
