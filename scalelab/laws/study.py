"""The fits of a study: one table of runs, the settings of each fit, one laws.json."""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scalelab.errors import UserError
from scalelab.files import digest
from scalelab.laws.fitting import fit
from scalelab.laws.growth import growth
from scalelab.laws.settings import Settings
from scalelab.provenance import code_digest, manifest

if TYPE_CHECKING:
    from pandas import DataFrame

LAYERS = ("laws", "files", "provenance", "errors")
KEYS = ("law", "x", "y", *(field.name for field in dataclasses.fields(Settings)))


def fit_study(
    runs: "DataFrame", fits: Sequence[Mapping[str, Any]], study: str | Mapping[str, Any]
) -> dict[str, Any]:
    """Content of laws.json: the fits in the order given, the first being the primary one.

    fits: keyword arguments of `laws.fit`, `law` among them; a key that is null takes its default.
    No fits (a sweep) give an empty list. A fit other than the first that cannot be made is
    listed under `failed` with its sentence. `growth` says how the costs of a run grow with N.

    Raises:
        UserError: an unknown key, or a primary fit that cannot be made.
    """
    name = study if isinstance(study, str) else str(study.get("name", "study"))
    settings = [_settings(item, place, name) for place, item in enumerate(fits)]
    blocks, failed = [], []
    for place, keys in enumerate(settings):
        law, rest = keys["law"], {k: v for k, v in keys.items() if k != "law"}
        try:
            blocks.append(fit(law, runs, **rest).to_json())
        except UserError as error:
            if place == 0:
                raise UserError(f"study {name}, {law}: {error}") from None
            failed.append({**keys, "reason": str(error)})
    table = digest(runs.to_csv(index=False))
    return {
        "study": name,
        "fits": blocks,
        "failed": failed,
        "growth": growth(runs),
        "provenance": {
            **manifest({"study": name, "fits": settings}, table),
            "code": code_digest(*LAYERS),
        },
    }


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
