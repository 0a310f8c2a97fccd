"""Study files: YAML -> the dataclasses of `schema`. Whatever is wrong becomes one sentence."""

import dataclasses
import difflib
import typing
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from scalelab.config import swept
from scalelab.config.schema import Study
from scalelab.errors import UserError, shown

EXPECTED = {"dataclass_type": "expected a mapping of keys", "tuple_type": "expected a list"}
"""Words for what pydantic says in terms of Python."""
PLAIN = ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge")
"""Kinds of values that a study file may hold: those of YAML itself, which make no object."""
TEMPLATE = "__use_yte__"
"""With this key a configuration file is a program to Snakemake (https://yte-template-engine.github.io)."""
SPLITS = ("train", "tuning", "test")
"""Splits of a corpus, whose names no other held-out text may have."""


def load(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Study:
    """Read a study file.

    Numbers follow YAML 1.2, so 1e-3 is a number. `overrides` maps dotted keys, or sections with
    their keys, to values that replace those of the file. Raises `UserError` naming the file, line
    and key for anything that is wrong.
    """
    return parse(read_yaml(path), overrides, source=str(path))


def read_yaml(path: str | Path) -> Any:
    """The mapping in a YAML 1.2 file, with line numbers (ruamel.yaml's `.lc`)."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such study file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    try:
        _refuse_more_than_data(YAML().compose(text), path)
        data = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{line}: not valid YAML: {error.problem}") from None
    except (YAMLError, ValueError) as error:
        raise UserError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(data, dict):
        found = "an empty file" if data is None else "a list" if isinstance(data, list) else "text"
        raise UserError(f"{path}: expected a mapping of keys, found {found}")
    return data


def _refuse_more_than_data(top: Any, path: str | Path) -> None:
    """Raise `UserError` for tags, for a value within itself, and for what Snakemake would run."""

    def visit(node: Any, above: tuple[int, ...]) -> None:
        where = f"{path}, line {node.start_mark.line + 1}"
        kind = str(node.tag).removeprefix("tag:yaml.org,2002:")
        if kind not in PLAIN:
            raise UserError(f"{where}: found the tag {kind!r}, expected plain YAML")
        if id(node) in above:
            raise UserError(f"{where}: found a value that holds itself, expected plain YAML")
        if kind == "str" and node.value == TEMPLATE:
            raise UserError(
                f"{where}: found {TEMPLATE!r}, with which Snakemake runs code of the file; "
                "expected plain YAML"
            )
        if isinstance(node.value, str) or id(node) in seen:
            return
        for item in node.value:
            if isinstance(item, tuple) and not isinstance(item[0].value, str):
                raise UserError(f"{where}: found a key that is no word, expected plain YAML")
            for inner in item if isinstance(item, tuple) else (item,):
                visit(inner, (*above, id(node)))
        seen.add(id(node))

    seen: set[int] = set()
    if top is not None:
        visit(top, ())


def parse(
    data: Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    source: str = "study",
) -> Study:
    """Validate a mapping (as `load`, for one that is already read)."""
    replaced = _nested(overrides or {})
    try:
        merged = swept.filled(_merge(data, replaced), source)
        study = TypeAdapter(Study).validate_python(merged)
    except ValidationError as error:
        raise UserError(_sentence(error, data, source, replaced)) from None
    check(study, source)
    return study


def resolved(study: Study) -> dict[str, Any]:
    """The study as plain data, every default written out."""
    return asdict(study)


def with_values(section: Any, values: Mapping[str, Any], where: str) -> Any:
    """A copy of a config section with some fields replaced and validated anew."""
    try:
        return TypeAdapter(type(section)).validate_python({**asdict(section), **values})
    except ValidationError as error:
        raise UserError(_sentence(error, {}, where)) from None


def _nested(overrides: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in overrides.items():
        *path, last = key.split(".")
        inner = out
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = _nested(value) if isinstance(value, Mapping) and key != "axes" else value
    return out


def _merge(base: Any, over: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in over.items():
        inner = out.get(key)
        replaces = key == "axes" or not (isinstance(value, Mapping) and isinstance(inner, Mapping))
        out[key] = value if replaces else _merge(inner, value)
    return out


def check(study: Study, source: str) -> None:
    """What holds between keys. Raises `UserError` with one sentence."""
    training = study.training
    schedule = training.schedule
    if schedule.share_trunk and (schedule.kind != "wsd" or schedule.warmup_tokens is None):
        raise UserError(
            f"{source}: training.schedule: share_trunk needs kind wsd and warmup_tokens (a warm-up "
            "that is a share of the run differs with D), found kind "
            f"{schedule.kind} and warmup_tokens {schedule.warmup_tokens}"
        )
    if schedule.share_trunk and training.beta2 == "auto":
        raise UserError(
            f"{source}: training: share_trunk needs one beta2 for all D, found auto, which follows "
            "the length of a run"
        )
    _check_sets(study, source)
    if study.compute.sharding and study.compute.large_processes == 1:
        raise UserError(f"{source}: compute: sharding needs large_processes of 2 or more, found 1")
    shares = schedule.kind == "wsd" and schedule.warmup_tokens is None
    if shares and schedule.warmup + schedule.cooldown > 1:
        raise UserError(
            f"{source}: training.schedule: warmup {training.schedule.warmup:g} and cooldown "
            f"{training.schedule.cooldown:g} are shares of one run and must not exceed 1 together"
        )


def _check_sets(study: Study, source: str) -> None:
    """Evaluation sets have names of their own, and fits ask for those there are."""
    names = [one.name for one in study.evaluation.sets]
    for place, name in enumerate(names):
        if name in SPLITS:
            raise UserError(
                f"{source}: evaluation.sets: found the name {name!r}, expected one that is no "
                f"split of the corpus ({', '.join(SPLITS)})"
            )
        if name in names[:place]:
            raise UserError(f"{source}: evaluation.sets: found the name {name!r} twice")
    if study.fits and study.fits[0].set in names:
        raise UserError(
            f"{source}: fits: the first fit leads the report and is of the split, found set "
            f"{study.fits[0].set!r}; put it after one without a set"
        )
    for fit in study.fits or ():
        if fit.set is not None and fit.set not in names:
            raise UserError(
                f"{source}: fits: found set {fit.set!r}, expected one of evaluation.sets "
                f"({', '.join(names) or 'there are none'})"
            )


def check_tokens(study: Study, source: str) -> None:
    """D is given once, by the file or by its design. Raises `UserError` with one sentence."""
    training = study.training
    names = ("tokens", "tokens_per_param")
    given = [name for name in names if getattr(training, name) is not None]
    if len(given) != 1:
        found = " and ".join(given) if given else "neither"
        raise UserError(
            f"{source}: training: expected exactly one of tokens and tokens_per_param, "
            f"found {found}"
        )


def _sentence(
    error: ValidationError, data: Any, source: str, overrides: Mapping[str, Any] | None = None
) -> str:
    """The first thing wrong, as one sentence: file, line, key, found, expected."""
    # The deepest one: of a wrong power rule its key is named, not that it is no number either.
    first = min(
        error.errors(),
        key=lambda item: (item["type"] != "unexpected_keyword_argument", -len(_path(item["loc"]))),
    )
    path = _path(first["loc"])
    key = ".".join(str(part) for part in path) or "the study"
    line = _line(data, path)
    where = f"{source}, line {line}" if line else source
    if _stands_in(overrides or {}, path):
        where = "command line"
    if first["type"] == "unexpected_keyword_argument":
        near = difflib.get_close_matches(str(path[-1]), _known_keys(path[:-1]), n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{where}: unknown key {key!r}{hint}"
    if first["type"] == "missing":
        return f"{where}: key {key!r} is missing"
    message = EXPECTED.get(first["type"], first["msg"].removeprefix("Value error, "))
    message = message[0].lower() + message[1:]
    return f"{where}: {key}: found {shown(first['input'])}, {message}"


def _stands_in(overrides: Any, path: list[Any]) -> bool:
    """Whether the overrides gave what a path leads to."""
    for part in path:
        if not isinstance(overrides, Mapping):
            return True  # a list or a value, given whole
        if part not in overrides:
            return False
        overrides = overrides[part]
    return bool(path)


def _path(location: tuple[int | str, ...]) -> list[int | str]:
    """Keys of the file. Names of union members (PowerRule, constrained numbers) are pydantic's."""
    return [part for part in location if not _is_union_label(part)]


def _is_union_label(part: int | str) -> bool:
    return isinstance(part, str) and (
        part in ("PowerRule", "int", "float", "none")
        or part.startswith(("function-", "constrained-"))
    )


def _known_keys(path: list[Any]) -> list[str]:
    """Field names of the section that a path of keys leads to."""
    kind: Any = Study
    for part in path:
        if isinstance(part, int):
            continue
        hint = {item.name: item.type for item in dataclasses.fields(kind)}.get(str(part))
        kinds = [item for item in within(hint) if isinstance(item, type)]
        kind = next((item for item in kinds if dataclasses.is_dataclass(item)), None)
        if kind is None:
            return []
    return [item.name for item in dataclasses.fields(kind)]


def within(hint: Any) -> list[Any]:
    """A type and those in it: of `tuple[FitConfig, ...] | None` all three."""
    return [hint, *(inner for part in typing.get_args(hint) for inner in within(part))]


def _line(data: Any, path: list[Any]) -> int | None:
    """Line (from 1) of the deepest part of a path that stands in the file."""
    found = None
    for part in path:
        marks = getattr(data, "lc", None)
        try:
            if marks is not None:
                found = (marks.item(part) if isinstance(part, int) else marks.key(part))[0] + 1
            data = data[part]
        except (KeyError, IndexError, TypeError):
            break
    return found
