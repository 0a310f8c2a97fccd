"""Which run a specification stands for: what is computed, not in how many processes."""

from typing import Any

from scalelab.files import digest

ALONE = {"processes": 1, "sharding": False}
"""How one process trains a run."""


def result_of(spec: dict[str, Any]) -> dict[str, Any]:
    """What the result of a run depends on.

    The keys that say how the run is shared stand as for one process: it has one id however many
    train it, and the one that it had before this was so.
    """
    return {**spec, **{key: ALONE[key] for key in ALONE if key in spec}}


def shared_by(spec: dict[str, Any]) -> dict[str, Any]:
    """The keys that say how the run is shared."""
    return {key: spec[key] for key in ALONE if key in spec}


def computed(spec: dict[str, Any]) -> dict[str, Any]:
    """A specification without those keys, as states of one run have it in common."""
    return {key: value for key, value in spec.items() if key not in ALONE}


def run_id(spec: dict[str, Any]) -> str:
    """12 hexadecimal characters: the digest of what the result of a run depends on."""
    return digest(result_of(spec))
