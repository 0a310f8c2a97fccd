"""How a law is to be fitted: everything that is a choice and no data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from scalelab.errors import UserError
from scalelab.laws.estimation.objective import check_objective
from scalelab.laws.shapes.constraints import Constraints

INTERVALS = ("auto", "profile", "robust", "bootstrap", "parametric")


@dataclass(frozen=True)
class Settings:
    """Keyword arguments of `laws.fit`, where each is described."""

    objective: str | None = None
    delta: float | None = None
    level: float = 0.95
    convention: str | None = None
    intervals: str = "auto"
    resamples: int = 1000
    seed: int = 0
    fixed: Mapping[str, float] = field(default_factory=dict)
    tied: Sequence[Sequence[str]] = ()
    cluster: str | None = None
    noise: str | None = None
    cell: str | None = None

    def check(self) -> None:
        """Raise `UserError` for a value that no fit can take."""
        check_objective(self.chosen_objective, self.delta)
        if not 0 < self.level < 1:
            raise UserError(f"level is {self.level}: expected a number between 0 and 1, say 0.95")
        if self.intervals not in INTERVALS:
            raise UserError(f"intervals {self.intervals!r}: expected one of {', '.join(INTERVALS)}")
        if self.resamples < 1:
            raise UserError(f"resamples is {self.resamples}: expected a positive number")
        if self.noise and self.chosen_objective != "least_squares":
            raise UserError(
                f"noise {self.noise!r} weighs squares and needs the objective least_squares, "
                f"found {self.chosen_objective}"
            )
        for pair in self.tied:
            if len(pair) != 2:
                raise UserError(f"tied {list(pair)}: expected two parameters such as alpha, beta")

    @property
    def chosen_objective(self) -> str:
        """The objective; huber where only its delta is given."""
        return self.objective or ("least_squares" if self.delta is None else "huber")

    @property
    def constraints(self) -> Constraints:
        """Fixed and tied parameters."""
        return Constraints(dict(self.fixed), tuple((pair[0], pair[1]) for pair in self.tied))

    def to_json(self) -> dict[str, Any]:
        """Plain values, from which a fit can be made again."""
        return {
            **asdict(self),
            "fixed": dict(self.fixed),
            "tied": [list(pair) for pair in self.tied],
        }
