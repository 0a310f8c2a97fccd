"""Docstrings of Python files as documents of prose."""

import ast
import inspect
import multiprocessing
import os
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from scalelab.corpus.documents import Document, Tally
from scalelab.corpus.sources import Report, source
from scalelab.corpus.sources.python import python_files

_CHUNK_BYTES = 2_000_000
_PARALLEL_BYTES = 20_000_000
_DEFINITIONS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_STATEMENTS = (ast.stmt, ast.excepthandler)


@source("docstrings")
def docstrings(
    config: dict[str, Any], fingerprint: dict[str, Any], tally: Tally, report: Report
) -> Iterator[Document]:
    """One document a docstring of the files that the source `python` reads, indentation removed."""
    files = python_files(config, fingerprint, tally, report)
    for found in _map(_chunks(files), report):
        for document in found:
            if document is None:
                tally.add("not Python 3", 0)
            else:
                yield document


def extract(files: list[Document]) -> list[Document | None]:
    """Docstrings of some files, named `file:line`; None stands for a file that does not parse."""
    found: list[Document | None] = []
    for name, text, _ in files:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # invalid escapes in other people's code
                tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            found.append(None)
            continue
        found += [Document(f"{name}:{line}", inspect.cleandoc(d)) for line, d in _walk(tree)]
    return found


def _walk(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, docstring) of a tree, in order; expressions are not entered."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, _DEFINITIONS):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
                and _encodable(first.value.value)
            ):
                yield first.lineno, first.value.value
        for block in ("finalbody", "orelse", "handlers", "body"):
            inner = getattr(node, block, None)
            if isinstance(inner, list):
                pending += [n for n in reversed(inner) if isinstance(n, _STATEMENTS)]


def _encodable(text: str) -> bool:
    # An escape such as "\ud800" is half of a character: no UTF-8 can hold it.
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _chunks(files: Iterable[Document]) -> Iterator[list[Document]]:
    chunk: list[Document] = []
    size = 0
    for document in files:
        chunk.append(document)
        size += len(document.text)
        if size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _map(chunks: Iterator[list[Document]], report: Report) -> Iterator[list[Document | None]]:
    """`extract` over chunks, in order; in several processes once there is enough to gain."""
    waiting: list[list[Document]] = []
    size = 0
    for chunk in chunks:
        waiting.append(chunk)
        size += sum(len(document.text) for document in chunk)
        if size >= _PARALLEL_BYTES:
            break
    else:
        yield from map(extract, waiting)
        return
    workers = _cores()
    if workers > 1:
        # spawn: this process may hold threads, which a fork would copy in an unknown state.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            jobs = [pool.submit(extract, chunk) for chunk in [*waiting, *chunks]]
            for done, job in enumerate(jobs, 1):
                if done % 20 == 0:
                    report(f"corpus: docstrings of {done} of {len(jobs)} parts read")
                yield job.result()
    else:
        yield from map(extract, [*waiting, *chunks])


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
