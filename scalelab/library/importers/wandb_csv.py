"""The table of a W&B project as its web page exports it: Name, State, config and summary."""

from collections.abc import Iterator
from pathlib import Path

from scalelab.errors import UserError
from scalelab.laws.runs.table import read_rows
from scalelab.library.importers import Found, Importer

GOOD = "finished"
ABOUT = ("Name", "State", "Notes", "User", "Tags", "Created", "Runtime", "Sweep", "ID")


def is_export(path: Path) -> bool:
    """Whether the header of a file is that of an export of W&B, of runs or of a chart."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            header = file.readline()
    except (OSError, UnicodeDecodeError):
        return False
    names = [name.strip().strip('"') for name in header.split(",")]
    return {"Name", "State"} <= set(names) or _is_chart(names)


def _is_chart(header: list[str]) -> bool:
    return any(name.endswith("__MIN") for name in header)


def read(path: Path, run_column: str | None) -> Iterator[Found]:
    """A run a row. Raises `UserError` for the export of a chart, which has a column a run."""
    header, rows, _ = read_rows(path)
    if _is_chart(header):
        raise UserError(
            f"{path}: is the export of a W&B chart, with a column a run; expected that of the "
            "project's table of runs"
        )
    if not {"Name", "State"} <= set(header):
        raise UserError(f"{path}: expected the columns Name and State of a W&B project's table")
    for row in rows:
        values = dict(zip(header, row, strict=True))
        state = values["State"].lower()
        yield Found(
            values["Name"],
            f"{path}: {values['Name']}",
            values.get("ID") or None,
            config={key: value for key, value in values.items() if key not in ABOUT and value},
            status="ok" if state == GOOD else state or "unknown",
            reason=None if state == GOOD else f"W&B says {state or 'nothing'}",
        )


IMPORTER = Importer("wandb-csv", "a W&B project's table, exported", is_export, read)
