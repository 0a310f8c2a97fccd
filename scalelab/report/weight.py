"""The page below its largest size: its pictures give way, since their files lie beside it."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MOST_BYTES = 5_000_000
SCALE = 0.5
"""Of the pixels of a PNG, which are made for print, on either side."""


def lighten(pictures: Sequence[dict[str, Any]], folder: Path, excess: int) -> None:
    """Take `excess` bytes out of the pictures, the largest first.

    Each gets fewer pixels where that helps; if that is not enough, they are left out (`uri` None).
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
    """A PNG with fewer pixels as a data URI; None where there is no such file."""
    if not path.exists():
        return None
    from matplotlib.image import thumbnail

    drawn = io.BytesIO()
    thumbnail(str(path), drawn, scale=SCALE)
    return f"data:image/png;base64,{base64.b64encode(drawn.getvalue()).decode()}"
