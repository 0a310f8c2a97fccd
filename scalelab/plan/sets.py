"""Evaluation sets of a study as specifications: what their text depends on, one id each."""

import dataclasses
from typing import Any

from scalelab.config import SourceConfig, Study
from scalelab.errors import UserError
from scalelab.files import digest
from scalelab.plan.data import given_keys, of_source
from scalelab.plan.symbols import SYMBOLS

FORMAT = 1
SOURCE_KEYS = tuple(item.name for item in dataclasses.fields(SourceConfig))
NO_SETS = ("synthetic", "mixture", *SYMBOLS)
"""Sources that have keys of the corpus beside their own: made text, and several sources at once."""


def set_specifications(study: Study) -> dict[str, dict[str, Any]]:
    """Specifications of the evaluation sets by their ids, in the order of the study.

    How the text is ordered, tokenized and cut follows from the corpus beside which a set is
    prepared, so one specification serves all corpora of a study.

    Raises:
        UserError: a source that cannot be a set, or whose text is not there.
    """
    found: dict[str, dict[str, Any]] = {}
    for one in study.evaluation.sets:
        if one.source in NO_SETS:
            raise UserError(
                f"evaluation.sets: {one.name}: found the source {one.source!r}, expected one that "
                "reads text, such as files"
            )
        plain = dataclasses.asdict(one)
        keys = {key: plain[key] for key in SOURCE_KEYS}
        spec = {
            "format": FORMAT,
            "name": one.name,
            "tokens": one.tokens,
            "config": {"source": one.source, **given_keys(keys, SourceConfig)},
            "fingerprint": of_source(one, f"evaluation.sets: {one.name}"),
        }
        found[digest(spec)] = spec
    return found
