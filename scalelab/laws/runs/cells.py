"""Several rows at one x: checkpoints of a run, trials of a setting, seeds, or nothing that tells.

`auto` decides by the columns of the table, in this order:

1. Rows of one run that differ in tokens or steps are its checkpoints: the last one stays. Never
   the one of least loss, which would be picked for its noise.
2. Rows that differ in a setting (learning rate, batch, shape, tokens, ...) are trials: those of the
   best setting stay, judged by the mean log loss of its rows.
3. Rows that differ in their seed, or by SPREAD at most, are repeats: all stay and are averaged.
4. What is left differs by more than seeds do and no column says why: the best row stays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.errors import UserError
from scalelab.laws.runs.clusters import RUN_COLUMNS

if TYPE_CHECKING:
    from pandas import DataFrame

RULES = ("auto", "best", "mean", "last")
SPREAD = 0.02
"""Largest over smallest loss, less one, of rows that may pass for seeds of one setting."""
PROGRESS = ("D", "tokens_seen", "tokens", "steps", "step", "C", "C_6ND")
SEEDS = ("seed", "data_seed", "init_seed", "model_seed")
SETTINGS = (
    *("lr", "learning_rate", "peak_lr", "max_lr", "min_lr"),
    *("batch_tokens", "batch_size", "global_batch_size", "batch"),
    *("schedule", "lr_schedule", "scheduler", "warmup_steps", "warmup", "cooldown_steps"),
    *("optimizer", "weight_decay", "wd", "beta1", "beta2", "clip", "dropout", "precision"),
    *("family", "architecture", "depth", "width", "heads", "layers", "n_layers", "d_model"),
    *("N", "N_total", "D_unique", "epochs"),
)
EARLIER = "earlier checkpoints of their run"
SHORTER = "trained less than the last of their cell"
NOT_BEST = "not best of their cell"
NOT_LAST = "not last of their cell"


@dataclass(frozen=True)
class Cells:
    """What was done. aside: names of the rows set aside, by reason; averaged: how many points are
    means of several rows; guessed: whether the loss alone had to tell trials from seeds; by: the
    columns in which trials differ.
    """

    aside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    averaged: int = 0
    guessed: bool = False
    by: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """{reason: {rows, names}}."""
        return {
            reason: {"rows": len(names), "names": list(names)}
            for reason, names in self.aside.items()
        }


def stored_cells(block: Mapping[str, Any]) -> Cells:
    """`Cells` of a fit's JSON."""
    found = block.get("set_aside") or {}
    averaged = sum(row["seeds"] > 1 for row in block["points"])
    return Cells({reason: tuple(item["names"]) for reason, item in found.items()}, averaged)


def check_runs(frame: "DataFrame", cluster: str | None) -> None:
    """Several rows of one run alone are refused, before checkpoints are set aside."""
    for name in RUN_COLUMNS:
        if cluster not in (None, name) or name not in frame.columns or len(frame) == 1:
            continue
        if frame[name].notna().all() and frame[name].nunique() == 1:
            raise UserError(
                f"{len(frame)} rows, 1 run: not enough runs (column {name} holds one value), since "
                "the checkpoints of one run are not independent"
            )


def choose(
    frame: "DataFrame", columns: Sequence[str], y: str, rule: str | None
) -> tuple["DataFrame", Cells]:
    """The rows that stay, and what was done with the others.

    frame holds the rows with `_point` (their cell), `_name` and `_row` (their place in the table);
    rule: one of RULES, None for auto.

    Raises:
        UserError: an unknown rule, or `last` where no column tells an order.
    """
    rule = rule or "auto"
    if rule not in RULES:
        raise UserError(f"cell {rule!r} is unknown: expected one of {', '.join(RULES)}")
    point = frame["_point"].to_numpy()
    several = np.flatnonzero(np.bincount(point) > 1)
    if not len(several):
        return frame, Cells()
    table = _Table(frame, columns, y)
    if rule == "last" and not table.progress:
        raise UserError(
            f"cell last needs a column that tells an order: one of {', '.join(PROGRESS)}"
        )
    aside: dict[str, list[int]] = {}
    kept = np.ones(len(frame), bool)
    for cell in several:
        for reason, rows in table.set_aside(np.flatnonzero(point == cell), rule).items():
            aside.setdefault(reason, []).extend(rows)
            kept[rows] = False
    names, order = frame["_name"].tolist(), frame["_row"].to_numpy()
    left = np.bincount(point[kept])
    return frame[kept].reset_index(drop=True), Cells(
        {
            reason: tuple(names[i] for i in sorted(rows, key=order.__getitem__))
            for reason, rows in aside.items()
        },
        int((left > 1).sum()),
        table.guessed,
        tuple(sorted(table.by)),
    )


class _Table:
    """The columns of a table that tell rows of one cell apart, as arrays."""

    def __init__(self, frame: "DataFrame", columns: Sequence[str], y: str) -> None:
        def codes(names: Sequence[str]) -> dict[str, np.ndarray]:
            found = [c for c in names if c in frame.columns and c not in columns]
            return {c: frame[c].astype(str).to_numpy() for c in found}

        self.loss = np.log(frame[y].to_numpy(float))
        self.runs = codes((*RUN_COLUMNS, "id"))
        self.settings, self.seeds = codes(SETTINGS), codes(SEEDS)
        self.progress = [
            frame[c].to_numpy(float)
            for c in PROGRESS
            if c in frame.columns and c not in columns and frame[c].dtype.kind in "if"
        ]
        self.lengths = codes(PROGRESS)
        self.guessed = False
        self.by: set[str] = set()

    def set_aside(self, rows: np.ndarray, rule: str) -> dict[str, list[int]]:
        """Which of the rows of one cell go, by reason."""
        if rule == "mean":
            return {}
        if rule == "best":
            return {NOT_BEST: _but(rows, rows[[int(np.argmin(self.loss[rows]))]])}
        if rule == "last":
            return _named(NOT_LAST, _but(rows, self._last(rows)))
        last = np.concatenate([self._last(part) for part in self._by_run(rows)])
        reason = EARLIER if self.runs else SHORTER
        return _named(reason, _but(rows, last)) | _named(NOT_BEST, _but(last, self._best(last)))

    def _by_run(self, rows: np.ndarray) -> list[np.ndarray]:
        """Rows of one run each: by its column, else by all that runs can differ in."""
        for values in self.runs.values():
            if len(np.unique(values[rows])) < len(rows):
                return _groups(rows, [values])
        if self.runs:
            return [rows[[place]] for place in range(len(rows))]
        return _groups(rows, [*self.settings.values(), *self.seeds.values()])

    def _last(self, rows: np.ndarray) -> np.ndarray:
        """The rows of the largest progress, by the first column in which they differ."""
        for values in self.progress:
            some = values[rows]
            if np.isfinite(some).all() and some.min() < some.max():
                return rows[some == some.max()]
        return rows

    def _best(self, rows: np.ndarray) -> np.ndarray:
        if len(rows) == 1:
            return rows
        known = {**self.settings, **self.lengths}
        differing = [name for name, v in known.items() if len(np.unique(v[rows])) > 1]
        if differing:
            self.by |= set(differing)
            trials = _groups(rows, [known[name] for name in differing])
            return min(trials, key=lambda trial: float(self.loss[trial].mean()))
        seeded = any(len(np.unique(values[rows])) > 1 for values in self.seeds.values())
        if seeded or np.ptp(self.loss[rows]) <= np.log1p(SPREAD):
            return rows
        self.guessed = True
        return rows[[int(np.argmin(self.loss[rows]))]]


def _groups(rows: np.ndarray, values: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Rows that agree in all of the values, in the order of the first of each."""
    found: dict[tuple[str, ...], list[int]] = {}
    for row in rows:
        found.setdefault(tuple(v[row] for v in values), []).append(int(row))
    return [np.array(group) for group in found.values()]


def _but(rows: np.ndarray, kept: np.ndarray) -> list[int]:
    return [int(row) for row in np.setdiff1d(rows, kept)]


def _named(reason: str, rows: list[int]) -> dict[str, list[int]]:
    return {reason: rows} if rows else {}
