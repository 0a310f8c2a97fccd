"""The fits and answers of a study: one table of runs, what is asked of it, one laws.json."""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.errors import UserError
from scalelab.evaluation.columns import SCORES, of_set
from scalelab.files import digest
from scalelab.laws.answers.registry import Material, check, give
from scalelab.laws.fitting import fit
from scalelab.laws.growth import growth
from scalelab.laws.result import FitResult
from scalelab.laws.settings import Settings
from scalelab.plan.objectives import CAUSAL
from scalelab.provenance import code_digest, manifest

if TYPE_CHECKING:
    from pandas import DataFrame

LAYERS = ("laws", "files", "provenance", "errors")
KEYS = ("law", "x", "y", "set", *(field.name for field in dataclasses.fields(Settings)))


def fit_study(
    runs: "DataFrame",
    fits: Sequence[Mapping[str, Any]],
    study: str | Mapping[str, Any],
    answers: Sequence[Mapping[str, Any]] = (),
    runs_root: str | Path | None = None,
) -> dict[str, Any]:
    """Content of laws.json: the fits in the order given, the first being the primary one.

    fits: keyword arguments of `laws.fit`, `law` among them; a key that is null takes its default.
    No fits (a sweep) give an empty list. answers: what the design asks beside, such as
    {"answer": "optimum", "axis": "lr"} (`laws.answers`). A fit other than the first, or an answer,
    that cannot be made is listed under `failed` with its sentence. runs_root: the folder with one
    folder a run, for answers that read training curves. `growth` says how the costs of a run grow
    with N.

    Raises:
        UserError: an unknown key or answer, or a primary fit that cannot be made.
    """
    name = study if isinstance(study, str) else str(study.get("name", "study"))
    settings = [_settings(item, place, name) for place, item in enumerate(fits)]
    for place, item in enumerate(answers, 1):
        check(item, f"study {name}, answer {place}")
    made: list[FitResult] = []
    failed: list[dict[str, Any]] = []
    for place, keys in enumerate(settings):
        law, rest = keys["law"], _of_set({k: v for k, v in keys.items() if k != "law"})
        try:
            made.append(fit(law, runs, **rest))
        except UserError as error:
            if place == 0:
                raise UserError(f"study {name}, {law}: {error}") from None
            failed.append({**keys, "reason": str(error)})
    root = None if runs_root is None else Path(runs_root)
    given, not_given = give(answers, Material(runs, tuple(made), root), name)
    asked = {"answers": list(answers)} if answers else {}
    table = digest(runs.to_csv(index=False))
    losses = _quantity(runs)
    return {
        "study": name,
        "fits": [one.to_json() | losses for one in made],
        "answers": [block | losses for block in given],
        "failed": failed + not_given,
        "growth": growth(runs),
        "provenance": {
            **manifest({"study": name, "fits": settings, **asked}, table),
            "code": code_digest(*LAYERS),
        },
    }


def _quantity(runs: "DataFrame") -> dict[str, str]:
    """What the losses are, where they are not those of each token given those before it."""
    found = {*runs["quantity"].dropna()} if "quantity" in runs.columns else set()
    return {"quantity": str(*found)} if len(found) == 1 and found != {CAUSAL.quantity} else {}


def _of_set(keys: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `fit`, with the columns of the evaluation set that the fit asks for."""
    name = keys.pop("set", None)
    if name is None:
        return keys
    measured = {"y": keys.get("y", "loss_nats"), "noise": keys.get("noise")}
    columns = {k: of_set(name, v) for k, v in measured.items() if v in SCORES}
    return {**keys, **columns}


def _settings(item: Any, place: int, study: str) -> dict[str, Any]:
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        item = dataclasses.asdict(item)
    where = f"study {study}, fit {place + 1}"
    if not isinstance(item, Mapping) or not item.get("law"):
        raise UserError(f"{where}: expected keys such as law: power_offset, found {item!r}")
    for key in item:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, n=1)
            hint = f", did you mean {near[0]!r}" if near else ""
            raise UserError(f"{where}: key {key!r} is unknown{hint}: one of {', '.join(KEYS)}")
    return {key: value for key, value in item.items() if value is not None}
