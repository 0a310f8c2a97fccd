"""Small grey images of letters and digits, drawn from fonts: a document an image."""

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
LEVELS = " .'^:;~=+oxO#%&@"
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
LAST_CHARACTER = 0x52F
"""End of the Unicode block Cyrillic Supplement: Latin, Greek and Cyrillic come before it."""
SIZES = (30, 52)
"""Of a font, in fine pixels an em: the side of the image is 48."""
TILT = 15.0
"""Largest rotation to either side, degrees."""
FAINTEST = 0.6
"""Least darkness of the ink."""
REPORT_EVERY = 20_000


@source("images")
def images(
    config: dict[str, Any], fingerprint: dict[str, Any], tally: Tally, report: Report
) -> Iterator[Document]:
    """Images until they hold `max_bytes` symbols. A document is named by its number, face and
    character.

    Face, character, size, rotation, place and darkness are drawn evenly and independently, each
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
        face, code, pixels = image(number)
        text = "".join(LEVELS[level] for level in pixels.ravel())
        tally.add("read", len(text))
        if number % REPORT_EVERY == REPORT_EVERY - 1:
            report(f"corpus: {number + 1:,} of {count:,} images drawn")
        yield Document(f"images/{number:07d}-{Path(face).stem}-U+{code:04X}", text)


def image(number: int) -> tuple[str, int, np.ndarray]:
    """Face, character and grey levels, uint8 of shape (SIDE, SIDE), of an image."""
    from matplotlib.ft2font import LoadFlags

    face, code, draw = chosen(number)
    font, _ = _face(face)
    font.set_size(SIZES[0] + draw[0] * (SIZES[1] - SIZES[0]), 72)
    font.set_text(chr(code), (2 * draw[1] - 1) * TILT, flags=LoadFlags.NO_HINTING)
    font.draw_glyphs_to_bitmap(antialiased=True)
    canvas = _placed(np.asarray(font.get_image()), draw[2], draw[3])
    mean = canvas.reshape(SIDE, FINE, SIDE, FINE).mean(axis=(1, 3)) / 256
    ink = FAINTEST + draw[4] * (1 - FAINTEST)
    return face, code, (mean * ink * len(LEVELS)).astype(np.uint8)


def chosen(number: int) -> tuple[str, int, np.ndarray]:
    """Face and character of an image, and five further draws in [0, 1)."""
    draw = uniform(stream(0, f"image {number}"), 7)
    face = FACES[int(draw[0] * len(FACES))]
    codes = _face(face)[1]
    return face, codes[int(draw[1] * len(codes))], draw[2:]


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
def _face(name: str) -> tuple[Any, tuple[int, ...]]:
    """A font and the letters and digits that it has."""
    import matplotlib
    from matplotlib.ft2font import FT2Font

    font = FT2Font(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name))
    has = font.get_charmap()
    return font, tuple(code for code in sorted(has) if _wanted(code))


def _wanted(code: int) -> bool:
    return code <= LAST_CHARACTER and chr(code).isalnum()
