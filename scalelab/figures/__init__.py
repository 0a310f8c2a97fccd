"""Figures: a study's tables in, a figure and the CSV of its numbers out. Nothing is fitted here.

matplotlib and the laws are imported when something is drawn with them, not with this package: one
figure is to be there at once.
"""

import textwrap
from collections.abc import Iterable
from pathlib import Path

from scalelab.figures.registry import kind, kinds
from scalelab.figures.study import NotInStudy, Study, load_study

FORMATS = ("pdf", "svg", "png")
KINDS = tuple(name for name, item in kinds().items() if not item.needs)
"""Kinds that every study has."""
ALL = tuple(kinds())
"""These and the kinds that only some designs have."""


def draw(
    name: str,
    study_dir: str | Path,
    out_dir: str | Path,
    formats: Iterable[str] = FORMATS,
    width: str | None = None,
    look: str = "paper",
) -> list[Path]:
    """Draw one kind of figure of the study in `study_dir` (runs.csv, laws.json).

    Curves are read from `runs` beside the study's folder. Writes `<name>.<format>` and `<name>.csv`
    to `out_dir` and returns their paths. Raises UserError for bad input.
    """
    study_dir = Path(study_dir)
    study = load_study(study_dir / "runs.csv", study_dir / "laws.json")
    return draw_study(name, study, out_dir, formats, width, look)


def draw_study(
    name: str,
    study: Study,
    out_dir: str | Path,
    formats: Iterable[str] = FORMATS,
    width: str | None = None,
    look: str = "paper",
) -> list[Path]:
    """Like `draw`, for a study that is already loaded.

    width: single or double (column). look: a venue (`scalelab.figures.venues`).
    """
    from scalelab.figures import style

    chosen = kind(name)
    with style.context(look):
        drawing = chosen.build(study, width or chosen.width)
        paths = style.save_all(drawing.figure, Path(out_dir), name, formats)
    paths.append(style.write_rows(Path(out_dir) / f"{name}.csv", drawing.header, drawing.rows))
    return paths


def draw_reason(
    name: str,
    reason: str,
    out_dir: str | Path,
    formats: Iterable[str] = FORMATS,
    width: str | None = None,
    look: str = "paper",
) -> list[Path]:
    """In a figure's place, the sentence that says why there is none; files as `draw` writes."""
    from scalelab.figures import style

    with style.context(look):
        drawn = style.new_figure(width or kind(name).width, 0.8)
        lines = textwrap.fill(f"No figure {name}. {reason}", 60)
        drawn.text(0.5, 0.5, lines, ha="center", va="center")
        paths = style.save_all(drawn, Path(out_dir), name, formats)
    paths.append(style.write_rows(Path(out_dir) / f"{name}.csv", ("reason",), [(reason,)]))
    return paths


__all__ = [
    "ALL",
    "FORMATS",
    "KINDS",
    "NotInStudy",
    "Study",
    "draw",
    "draw_reason",
    "draw_study",
    "kind",
    "kinds",
    "load_study",
]
