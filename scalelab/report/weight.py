"""The page below its largest size: its pictures give way, since their files lie beside it."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

MOST_BYTES = 5_000_000


def lighten(pictures: Sequence[dict[str, Any]], folder: Path, excess: int) -> None:
    """Take `excess` bytes out of the pictures, the largest first.

    Each gets a PNG at half the pixels where this helps, since figures are made for print; if that
    is not enough, they are left out (`uri` None).
    """
    for left_out in (False, True):
        for picture in sorted(pictures, key=lambda one: len(one["uri"] or ""), reverse=True):
            if excess <= 0 or picture["uri"] is None:
                return
            before = len(picture["uri"])
            uri = None if left_out else small(folder / f"{picture['name']}.png")
            if left_out or (uri is not None and len(uri) < before):
                picture["uri"] = uri
                excess -= before - len(uri or "")


def small(path: Path) -> str | None:
    """A PNG at half its pixels on either side as a data URI; None where there is no such file."""
    if not path.exists():
        return None
    from matplotlib.image import imread, imsave

    pixels = imread(path)
    height, width = (length // 2 * 2 for length in pixels.shape[:2])
    blocks = pixels[:height, :width].reshape(height // 2, 2, width // 2, 2, -1)
    drawn, unsigned = io.BytesIO(), cast(Any, {"Software": None})
    imsave(drawn, blocks.mean((1, 3)), format="png", metadata=unsigned)
    return f"data:image/png;base64,{base64.b64encode(drawn.getvalue()).decode()}"
