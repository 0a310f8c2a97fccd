"""Settings that do not go with a source, in one part of a sentence."""

from collections.abc import Mapping
from typing import Any


def misfits(wanted: Mapping[str, tuple[bool, Any, Any]]) -> str:
    """`key: found this, expected that; ...` of the keys that do not fit; empty where all do.

    wanted: by key, whether it fits, what was found, what is expected.
    """
    return "; ".join(
        f"{key}: found {found}, expected {expected}"
        for key, (fits, found, expected) in wanted.items()
        if not fits
    )
