"""Small grey images of digits, drawn from fonts: a document is an image."""

import functools
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.corpus.documents import Document, Tally
from scalelab.corpus.facts import uniform
from scalelab.corpus.sources import Report, source
from scalelab.errors import UserError
from scalelab.plan.symbols import FONTS
from scalelab.seeds import stream

SIDE = 12
"""Pixels of a side; an image is SIDE x SIDE symbols, row by row from the top."""
LEVELS = " .:-=+#@"
"""Grey levels from paper to ink."""
FINE = 4
"""Drawn this many times larger in each direction, then averaged."""
FACES = tuple(
    f"DejaVu{name}.ttf"
    for name in (
        *("Sans", "Sans-Bold", "Sans-Oblique", "Sans-BoldOblique"),
        *("SansMono", "SansMono-Bold", "Serif", "Serif-Bold", "Serif-Italic", "Serif-BoldItalic"),
    )
)
DIGITS = "0123456789"
SIZES = (44, 60)
"""Of a font, in fine pixels an em; a digit is 0.73 em high, and the side of the image 48."""
TILT = 10.0
"""Largest rotation to either side, degrees."""
FAINTEST = 0.7
"""Least darkness of the ink."""
REPORT_EVERY = 20_000


@source("images")
def images(
    config: dict[str, Any], fingerprint: dict[str, Any], tally: Tally, report: Report
) -> Iterator[Document]:
    """Images until they hold `max_bytes` symbols, each named by its number, face and digit.

    Face, digit, size, rotation, place and darkness are drawn evenly and independently, each
    image from a stream of its own, so that a longer corpus begins with a shorter one.

    Raises:
        UserError: another version of the library with the fonts than the plan was made with.
    """
    version = importlib.metadata.version(FONTS)
    if version != fingerprint["packages"][FONTS]:
        raise UserError(
            f"corpus: {FONTS} {version} is installed, but the corpus was planned with "
            f"{fingerprint['packages'][FONTS]}"
        )
    count = config["max_bytes"] // SIDE**2
    for number in range(count):
        face, digit, pixels = image(number)
        text = "".join(LEVELS[level] for level in pixels.ravel())
        tally.add("read", len(text))
        if number % REPORT_EVERY == REPORT_EVERY - 1:
            report(f"corpus: {number + 1:,} of {count:,} images drawn")
        yield Document(f"images/{number:07d}-{Path(face).stem}-{digit}", text)


def image(number: int) -> tuple[str, str, np.ndarray]:
    """Face, digit and grey levels, uint8 of shape (SIDE, SIDE), of an image."""
    from matplotlib.ft2font import LoadFlags

    face, digit, draw = chosen(number)
    font = _font(face)
    font.set_size(SIZES[0] + draw[0] * (SIZES[1] - SIZES[0]), 72)
    font.set_text(digit, (2 * draw[1] - 1) * TILT, flags=LoadFlags.NO_HINTING)
    font.draw_glyphs_to_bitmap(antialiased=True)
    canvas = _placed(np.asarray(font.get_image()), draw[2], draw[3])
    mean = canvas.reshape(SIDE, FINE, SIDE, FINE).mean(axis=(1, 3)) / 256
    ink = FAINTEST + draw[4] * (1 - FAINTEST)
    return face, digit, (mean * ink * len(LEVELS)).astype(np.uint8)


def chosen(number: int) -> tuple[str, str, np.ndarray]:
    """Face and digit of an image, and five further draws in [0, 1)."""
    draw = uniform(stream(0, f"image {number}"), 7)
    return FACES[int(draw[0] * len(FACES))], DIGITS[int(draw[1] * len(DIGITS))], draw[2:]


def _placed(glyph: np.ndarray, down: float, right: float) -> np.ndarray:
    """A glyph on a canvas of fine pixels: anywhere that it fits, its middle where it does not."""
    side = SIDE * FINE
    canvas = np.zeros((side, side), np.uint8)
    (top, first), (left, begin) = (
        (int(share * (side - size + 1)), 0) if size <= side else (0, (size - side) // 2)
        for share, size in zip((down, right), glyph.shape, strict=True)
    )
    part = glyph[first : first + side, begin : begin + side]
    canvas[top : top + part.shape[0], left : left + part.shape[1]] = part
    return canvas


@functools.cache
def _font(name: str) -> Any:
    import matplotlib
    from matplotlib.ft2font import FT2Font

    return FT2Font(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name))
