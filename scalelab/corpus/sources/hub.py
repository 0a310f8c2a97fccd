"""A dataset of the Hugging Face hub, streamed or cached, or a local folder in its layout."""

import itertools
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from scalelab.corpus.documents import Document, Tally
from scalelab.corpus.formats import Row
from scalelab.corpus.sources import Report, source
from scalelab.corpus.sources.files import documents
from scalelab.errors import TryAgain, UserError, first_line
from scalelab.plan import hub as planned

TRANSPORT = ("httpx", "httpx2", "httpcore", "httpcore2", "aiohttp", "requests", "urllib3")
"""Libraries whose errors mean the network."""
NO_SCRIPT = (
    "is read by a script of its own, which `datasets` no longer runs; expected data files such as "
    "Parquet: look for a branch `refs/convert/parquet`, or download the files and use the source "
    "`files`"
)


@source("hub")
def hub(
    config: dict[str, Any], fingerprint: dict[str, Any], tally: Tally, report: Report
) -> Iterator[Document]:
    """One document a row of the split, from the commit in the fingerprint.

    Raises:
        UserError: a configuration, split or column is not there (those that are, are named), or
            the dataset needs its own code.
        TryAgain: the hub cannot be reached; what was read stays.
    """
    options = config["hub"]
    name = options["name"]
    place = f"{name}/{options['split']}"
    dataset, folder = _open(options, fingerprint["hub"])
    column = config["text_field"]
    names = list(dataset.column_names or [])
    if names and column not in names:
        there = ", ".join(map(repr, names))
        raise UserError(f"corpus.text_field: {place} has no column {column!r}, but {there}")
    shards = getattr(dataset, "num_shards", 1) if options["streaming"] else 1
    skip, first, seen = config["on_error"] == "skip", tally.first(), itertools.count()
    if first >= shards:
        raise UserError(
            f"{place}: reading went as far as shard {first + 1}, now there are {shards}: the "
            "cache does not hold all of them; `hf download --repo-type dataset` completes it"
        )
    for number in range(first, shards):
        tally.begin(number)
        tally.add("read", 0)
        part = dataset.shard(shards, number) if shards > 1 else dataset
        where = f"{place}, shard {number + 1}" if shards > 1 else place
        rows = _rows(part.select_columns([column]), column, where)
        counted = (row for row, _ in zip(rows, seen, strict=False))
        yield from documents(counted, skip, tally, report)
    if folder is not None and not first:
        wrong = _not_whole(folder, place, dataset, options["split"], next(seen))
        if wrong and not skip:
            raise UserError(wrong)
        if wrong:
            report(f"corpus: {wrong}")


def _not_whole(folder: Path, place: str, dataset: Any, split: str, rows: int) -> str | None:
    """What is wrong with a folder of the cache that has fewer rows than its card says."""
    told = getattr((dataset.info.splits or {}).get(split), "num_examples", None) or 0
    if rows >= told:
        return None
    return (
        f"{folder}: holds {rows:,} rows of {place}, its card says {told:,}: the download is not "
        "whole; `hf download --repo-type dataset` completes it"
    )


def _open(options: dict[str, Any], found: dict[str, str]) -> tuple[Any, Path | None]:
    """(dataset, the folder of the cache that it is read from, if it is)."""
    name, revision = options["name"], found.get("commit")
    if revision is None:
        if planned.folder_sha256(Path(name), "corpus.hub") != found["sha256"]:
            raise UserError(f"{name}: changed since the corpus was planned; plan again")
        return _load(name, None, options), None
    folder = planned.cached(name, revision) if planned.offline() else None
    if folder is not None:
        return _load(str(folder), None, options), folder
    return _load(name, revision, options), None


def _load(place: str, revision: str | None, options: dict[str, Any]) -> Any:
    import datasets

    name, streaming = options["name"], options["streaming"]
    verbose = datasets.utils.logging.get_verbosity()
    datasets.utils.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    try:
        with tempfile.TemporaryDirectory() as empty:
            return datasets.load_dataset(
                place,
                options["config"],
                split=options["split"],
                revision=revision,
                streaming=streaming,
                # A stream needs no cache, but one that it can make a folder in.
                cache_dir=empty if streaming else None,
            )
    except RuntimeError as error:
        if "script" not in str(error):
            raise
        raise UserError(f"corpus.hub.name: {name!r} {NO_SCRIPT}") from None
    except datasets.exceptions.DataFilesNotFoundError as error:
        if any(Path(place).glob("*.py")):
            raise UserError(f"corpus.hub.name: {name!r} {NO_SCRIPT}") from None
        raise UserError(f"corpus.hub: {name!r} cannot be opened: {first_line(error)}") from None
    except Exception as error:
        if _is_network(error):
            raise TryAgain(
                f"corpus.hub.name: {name!r} cannot be reached ({first_line(error)}); the same "
                "command goes on, and HF_HUB_OFFLINE=1 reads what the cache holds"
            ) from None
        raise UserError(f"corpus.hub: {name!r} cannot be opened: {first_line(error)}") from None
    finally:
        datasets.utils.logging.set_verbosity(verbose)
        datasets.enable_progress_bars()


def _rows(dataset: Iterable[dict[str, Any]], column: str, where: str) -> Iterator[Row]:
    number = 0
    try:
        for row in dataset:
            number += 1
            text = row.get(column)
            place = f"{where}, row {number}"
            if text is not None and not isinstance(text, str):
                kind = type(text).__name__
                yield Row(place, None, f"{place}: expected text in {column!r}, found {kind}")
            else:
                yield Row(place, text)
    except KeyError as error:
        raise UserError(f"corpus.text_field: {where} has no column {error}") from None
    except Exception as error:
        if _is_network(error):
            reason = f"reading was interrupted at row {number:,}: {first_line(error)}"
            raise TryAgain(f"{where}: {reason}") from None
        # Rows come in blocks: nothing behind a broken one can be read.
        yield Row(
            where, None, f"{where}: cannot be read behind row {number:,}: {first_line(error)}"
        )


def _is_network(error: BaseException | None) -> bool:
    """Whether the hub could not be reached or was not well, here or in what led to it."""
    from huggingface_hub.errors import HfHubHTTPError

    while error is not None:
        library = type(error).__module__.partition(".")[0]
        if isinstance(error, ConnectionError | TimeoutError | HfHubHTTPError):
            return True
        if library in TRANSPORT:
            return True
        error = error.__cause__ or error.__context__
    return False
