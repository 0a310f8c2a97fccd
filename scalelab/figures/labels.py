"""Text written along a line, at the place where least is in the way."""

import itertools
import math
from typing import TYPE_CHECKING, Any

from scalelab.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Line = list[tuple[float, float]]
"""Data coordinates."""
LETTER = 0.32
"""Half the width of a letter, in sizes of type."""
BETWEEN = 8
LEAST_ROOM = 3.0
"""A text with less than this around it, in dots, is better left out."""


def dense(line: Line) -> Line:
    """More points on a line that is straight in logs between those it has."""
    return [
        (a[0] * (b[0] / a[0]) ** (k / BETWEEN), a[1] * (b[1] / a[1]) ** (k / BETWEEN))
        for a, b in itertools.pairwise(line)
        for k in range(BETWEEN + 1)
    ]


def write_along(axes: "Axes", text: str, line: Line, taken: Line, colour: str) -> Line:
    """Write `text` along a line where it is farthest from `taken`; give back what it covers.

    Nothing is written where the line has no room inside the panel. The figure must be settled.
    """
    import numpy as np

    shown = axes.transData.transform(line) if len(line) > 4 else np.empty((0, 2))
    box, half = axes.get_window_extent(), LETTER * style.small() * len(text) + 3
    free = [
        place
        for place, (x, y) in enumerate(shown)
        if 1 < place < len(shown) - 2
        and box.x0 + half < x < box.x1 - half
        and box.y0 + half < y < box.y1 - half
    ]
    if not free:
        return []
    others = axes.transData.transform(taken) if taken else np.full((1, 2), np.inf)
    distance = [_room(shown, place, half, others) for place in free]
    if max(distance) < LEAST_ROOM:
        return []
    place = free[int(np.argmax(distance))]
    (xa, ya), (xb, yb) = shown[place - 1], shown[place + 1]
    angle = math.degrees(math.atan2(yb - ya, xb - xa))
    axes.text(
        *line[place],
        text,
        rotation=(angle + 90) % 180 - 90,
        rotation_mode="anchor",
        ha="center",
        va="center",
        color=colour,
        fontsize=style.small(),
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        zorder=1.5,
    )
    near = np.hypot(*(shown - shown[place]).T) < half
    return [point for point, covered in zip(line, near, strict=True) if covered]


def _room(shown: Any, place: int, half: float, others: Any) -> float:
    """Distance from a text centred on a point of a line to the nearest other thing."""
    import numpy as np

    step = shown[place + 1] - shown[place - 1]
    step = step / max(np.hypot(*step), 1e-9)
    text = shown[place] + np.outer(np.linspace(-half, half, 7), step)
    return float(np.hypot(*(others[:, None] - text).transpose(2, 0, 1)).min())
