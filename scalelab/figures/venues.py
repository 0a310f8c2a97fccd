"""What figures are like at each venue, in one place: `scalelab figures --style neurips`."""

import contextlib
import contextvars
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from scalelab.errors import UserError

SERIF: dict[str, Any] = {
    # Metrics of Times; shipped with matplotlib, so every machine has it.
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
}


@dataclass(frozen=True)
class Venue:
    """Widths of one and two columns in inches, sizes of type in points, and matplotlib settings.

    told: the venue's measures in words. small: of ticks, legends and notes.
    """

    told: str
    single: float
    double: float
    points: float
    small: float
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def superscripts(self) -> bool:
        """Whether the font has all raised digits."""
        return self.settings.get("font.family") != "STIXGeneral"

    def width(self, columns: str) -> float:
        """Inches of `single` or `double`."""
        return {"single": self.single, "double": self.double}[columns]


VENUES = {
    "paper": Venue("sans serif, for any two-column paper", 3.3, 6.8, 7.5, 7.0),
    "neurips": Venue("half and full text width of 5.5 in", 2.7, 5.5, 8.0, 7.0, SERIF),
    "icml": Venue("columns of 3.25 in, text of 6.75 in", 3.25, 6.75, 8.0, 7.0, SERIF),
    "acl": Venue("columns of 7.7 cm, text of 16 cm", 3.03, 6.3, 8.0, 7.0, SERIF),
    "nature": Venue("columns of 89 and 183 mm", 3.5, 7.2, 7.0, 6.0),
    "ieee": Venue("columns of 3.5 in, text of 7.16 in", 3.5, 7.16, 8.0, 7.0, SERIF),
}
_current: contextvars.ContextVar[Venue] = contextvars.ContextVar("venue", default=VENUES["paper"])


def get(name: str) -> Venue:
    """The venue of that name; a UserError that names the near one when there is none."""
    if name not in VENUES:
        near = difflib.get_close_matches(name, VENUES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(f"style: found {name!r}, expected one of {', '.join(VENUES)}{hint}")
    return VENUES[name]


def current() -> Venue:
    """The venue that is being drawn for."""
    return _current.get()


@contextlib.contextmanager
def drawn_for(venue: Venue) -> Iterator[None]:
    """Draw for a venue for the time of a block."""
    token = _current.set(venue)
    try:
        yield
    finally:
        _current.reset(token)
