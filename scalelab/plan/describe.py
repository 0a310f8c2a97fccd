"""The reference of study files, written from the dataclasses themselves (config/README.md)."""

import ast
import dataclasses
import inspect
from typing import Any

from scalelab.config import schema
from scalelab.config.reading import within
from scalelab.plan import designs
from scalelab.plan.designs import isoflop

HEADER = """# Study files

A study is one YAML file: what to train, on which text, and which law to fit. `quickstart.yaml` is
the default. Run another one with `snakemake --cores all --configfile config/NAME.yaml`; look at it
first with `scalelab plan config/NAME.yaml`. Single keys can be replaced for one call:
`--config training='{lr: 1e-3}'`.

Numbers follow YAML 1.2 (`1e-3` is a number); counts may be written `4000000`, `4e6` or `4M`. An
unknown key is an error that names the near one. Equal values give equal runs, however they are
written. Written by `python -m scalelab.plan.describe > config/README.md`.
"""

LISTS = ("fits", "shapes", "mixture", "sets")
"""Keys that hold a list of sections."""


def markdown() -> str:
    """Every section and key with default and meaning, as Markdown."""
    parts = [HEADER]
    for section, kind in [("", schema.Study), *_sections(schema.Study)]:
        title = f"## `{section}`" if section else "## Top level"
        parts.append(f"{title}\n\n{inspect.getdoc(kind)}\n")
        parts.append(_table(kind))
    for name, design in designs.discover().items():
        parts.append(f"## Design `{name}`\n\n{design.summary}\n")
        if dataclasses.fields(design.options):
            parts.append(_table(design.options))
    parts.append(f"## `design.optimum`\n\n{inspect.getdoc(isoflop.Optimum)}\n")
    parts.append(_table(isoflop.Optimum))
    return "\n".join(parts)


def _table(kind: Any) -> str:
    rows = ["| key | default | meaning |", "| --- | --- | --- |"]
    notes = _field_docstrings(kind)
    for item in dataclasses.fields(kind):
        if _section_of(item.type) is None or item.name in notes:
            text = " ".join(notes.get(item.name, "").split()).replace("|", "\\|")
            rows.append(f"| `{item.name}` | {_default(item)} | {text} |")
    return "\n".join(rows) + "\n"


def _sections(kind: Any, prefix: str = "") -> list[tuple[str, Any]]:
    out: list[tuple[str, Any]] = []
    for item in dataclasses.fields(kind):
        inner = _section_of(item.type)
        if inner is not None:
            name = prefix + item.name + ("[]" if item.name in LISTS else "")
            out += [(name, inner), *_sections(inner, name + ".")]
    return out + ([("(a power rule)", schema.PowerRule)] if not prefix else [])


def _section_of(hint: Any) -> Any:
    """The dataclass of a section, or of a list of sections; None for a plain value."""
    for option in within(hint):
        if (
            isinstance(option, type)
            and dataclasses.is_dataclass(option)
            and option is not schema.PowerRule
        ):
            return option
    return None


def _default(item: "dataclasses.Field[Any]") -> str:
    if item.default is not dataclasses.MISSING:
        value = item.default
    elif item.default_factory is not dataclasses.MISSING:
        value = item.default_factory()
    else:
        return "required"
    if dataclasses.is_dataclass(value) or item.name == "fits":
        return "see below"
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return "`[" + ", ".join(str(part) for part in value) + "]`"
    return f"`{value}`" if value != "" else "empty"


def _field_docstrings(kind: Any) -> dict[str, str]:
    """Notes under the fields of a dataclass and of those that it extends."""
    out: dict[str, str] = {}
    for base in kind.__mro__[-2::-1]:  # all but `object`, the outermost first
        out |= _own_docstrings(base)
    return out


def _own_docstrings(kind: Any) -> dict[str, str]:
    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)
    out = {}
    for field, note in zip(body.body, body.body[1:], strict=False):
        text = isinstance(note, ast.Expr) and isinstance(note.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and text:
            out[field.target.id] = str(note.value.value)  # type: ignore[attr-defined]
    return out


if __name__ == "__main__":
    print(markdown(), end="")
