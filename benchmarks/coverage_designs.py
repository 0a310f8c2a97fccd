"""The data sets of `coverage.py`: where the points lie, what noise they have, what is measured."""

import dataclasses

import numpy as np

ONE = {"E": 1.8, "A": 60.0, "alpha": 0.25}
TWO = {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28}
NOISE, SHARED = 0.003, 0.005


@dataclasses.dataclass(frozen=True)
class Design:
    """Points x (n, m), the cluster of each (n,) or None, and their noise.

    own (n,) is the noise of each point, `shared` that of a cluster. outliers: the share of points
    whose own noise is five times as large. drift: correlation of the shared noise from one point
    of a cluster to the next, where it is not the same for all. A new run has the noise of the last
    point.
    """

    name: str
    x: np.ndarray
    own: np.ndarray
    member: np.ndarray | None = None
    shared: float = 0.0
    outliers: float = 0.0
    drift: float = 1.0

    @property
    def law(self) -> str:
        """The law of that many columns."""
        return "power_offset" if self.x.shape[1] == 1 else "chinchilla"

    @property
    def truth(self) -> dict[str, float]:
        """Its parameters."""
        return ONE if self.x.shape[1] == 1 else TWO

    def noise(self, generator: np.random.Generator) -> tuple[np.ndarray, float]:
        """Noise of log loss of the points (n,), and of one new run."""
        count = len(self.x)
        spread = np.append(self.own, self.own[-1])
        spread = np.where(generator.random(count + 1) < self.outliers, 5 * spread, spread)
        own = generator.normal(size=count + 1) * spread
        if self.member is not None:
            member = np.append(self.member, self.member.max() + 1)
            effects = generator.normal(0, self.shared, int(member.max()) + 1)[member]
            for place in np.flatnonzero(np.diff(member) == 0) + 1 if self.drift < 1 else ():
                fresh = np.sqrt(1 - self.drift**2) * generator.normal(0, self.shared)
                effects[place] = self.drift * effects[place - 1] + fresh
            own += effects
        return own[:-1], float(own[-1])


def sizes(count: int, outliers: float = 0.0, ratio: float = 1.0) -> Design:
    """Sizes from 1e4 to 1e6; ratio: noise of the largest over that of the smallest."""
    own = np.geomspace(ratio**-0.5, ratio**0.5, count) * NOISE
    name = f"{count} sizes" + ", outliers" * bool(outliers)
    name += "" if ratio == 1 else ", noise rises" if ratio > 1 else ", noise falls"
    return Design(name, np.geomspace(1e4, 1e6, count)[:, None], own, outliers=outliers)


def scattered(count: int) -> Design:
    """Independent points of different N and D; D along a golden-ratio sequence."""
    turn = (np.arange(count) * 0.6180339887498949) % 1
    x = np.column_stack([np.geomspace(1e7, 1e9, count), 10 ** (9 + 2 * turn)])
    return Design(f"{count} points", x, np.full(count, NOISE))


def grid(groups: int, each: int) -> Design:
    """Each size at the same token counts: what a size shares is in all of them."""
    n, d = np.geomspace(1e7, 1e9, groups), np.geomspace(1e9, 1e11, each)
    x = np.column_stack([np.repeat(n, each), np.tile(d, groups)])
    member = np.repeat(np.arange(groups), each)
    name = f"{groups} sizes x {each} D"
    return Design(name, x, np.full(len(x), NOISE), member, SHARED)


def checkpoints(runs: int, each: int, drift: float = 1.0) -> Design:
    """Checkpoints of runs of different N, trained for 10, 40 or 160 tokens a parameter."""
    n = np.geomspace(1e7, 1e9, runs)
    end = n * np.resize([10.0, 40.0, 160.0], runs)
    d = end[:, None] * np.geomspace(0.2, 1, each)
    x = np.column_stack([np.repeat(n, each), d.ravel()])
    member = np.repeat(np.arange(runs), each)
    name = f"{runs} runs x {each} checkpoints" + ", drift" * (drift < 1)
    return Design(name, x, np.full(len(x), NOISE), member, SHARED, drift=drift)


def plan(everything: bool, quick: bool) -> list[tuple[Design, str, tuple[str, ...]]]:
    """(design, objective, methods); auto stands for the default."""
    squares, huber, default = "least_squares", "huber", ("auto",)
    if quick:
        return [(sizes(8), squares, default), (grid(8, 5), squares, default)]
    every = ("auto", "profile", "robust", "bootstrap", "parametric")
    rows: list[tuple[Design, str, tuple[str, ...]]] = [
        (sizes(8), squares, every),
        (sizes(12), squares, default),
        (sizes(20), squares, ("auto", "profile", "bootstrap")),
        (sizes(30), squares, default),
        (sizes(60), squares, ("auto", "bootstrap")),
        (sizes(12, ratio=4), squares, ("auto", "robust")),
        (sizes(30, ratio=4), squares, ("auto", "profile", "bootstrap")),
        (sizes(30, ratio=0.25), squares, ("auto", "profile")),
        (scattered(20), squares, ("auto", "profile")),
        (scattered(40), squares, default),
        (scattered(60), squares, default),
        (grid(5, 6), squares, default),
        (grid(8, 5), squares, every),
        (checkpoints(12, 5), squares, every),
        (checkpoints(12, 5, drift=0.8), squares, ("auto", "parametric")),
        (checkpoints(24, 5), squares, ("auto", "bootstrap")),
        (sizes(8), huber, ("auto", "robust")),
        (sizes(12), huber, default),
        (sizes(20), huber, ("auto", "profile")),
        (sizes(30), huber, default),
        (sizes(60), huber, default),
        (sizes(12, outliers=0.1), huber, default),
        (sizes(30, outliers=0.1), huber, ("auto", "robust")),
        (sizes(30, outliers=0.1), squares, default),
        (scattered(20), huber, ("auto", "robust")),
        (scattered(60), huber, default),
        (grid(8, 5), huber, default),
        (checkpoints(24, 5), huber, ("auto", "robust")),
    ]
    return rows if everything else [(*row[:2], default) for row in rows]
