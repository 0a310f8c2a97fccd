"""`{sweep: NAME}` in a study file: the rule that a finished sweep has measured."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalelab.errors import UserError

KEYS = ("lr", "batch_tokens")
"""Keys of `training` that a sweep can give; also the columns of runs.csv that it varies."""
RESULTS = Path("results")


def filled(data: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    """The mapping of a study with each `{sweep: NAME}` of `training` replaced by the power rule in
    results/NAME/laws.json.

    Raises:
        UserError: no such study, or one without a rule for that key.
    """
    training = data.get("training")
    if not isinstance(training, Mapping):
        return data
    rules = {
        key: _rule(training[key], key, source)
        for key in KEYS
        if isinstance(training.get(key), Mapping) and "sweep" in training[key]
    }
    return {**data, "training": {**training, **rules}} if rules else data


def _rule(given: Mapping[str, Any], key: str, source: str) -> dict[str, Any]:
    where, name = f"{source}: training.{key}", given["sweep"]
    if set(given) != {"sweep"} or not isinstance(name, str):
        raise UserError(f"{where}: expected the name of a study alone, {{sweep: NAME}}")
    path = RESULTS / name / "laws.json"
    try:
        answers = json.loads(path.read_text(encoding="utf-8")).get("answers") or []
    except FileNotFoundError:
        raise UserError(
            f"{where}: {path} does not exist, expected the laws of a finished sweep"
        ) from None
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{where}: {path} cannot be read ({error})") from None
    rules = [one.get("rule") for one in answers if one.get("axis") == key]
    if not any(rules):
        found = "an optimum without a rule" if rules else f"no optimum of {key}"
        raise UserError(
            f"{where}: {path} holds {found}, expected a sweep of it over three sizes or more"
        )
    rule = next(rule for rule in rules if rule)
    return {part: rule[part] for part in ("value", "at", "exponent", "of")}
