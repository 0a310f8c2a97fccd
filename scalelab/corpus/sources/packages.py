"""Files of other languages in installed distributions: what is read follows from their endings."""

from collections.abc import Iterator
from typing import Any

from scalelab.corpus.documents import Document, Tally
from scalelab.corpus.sources import Report, source
from scalelab.corpus.sources.python import check_python, package_files, read_file


@source("packages")
def packages(
    config: dict[str, Any], fingerprint: dict[str, Any], tally: Tally, report: Report
) -> Iterator[Document]:
    """One document a file, tests, copies, generated files and tables left out."""
    check_python(fingerprint)
    suffixes = tuple(config["suffixes"])
    for name, version in fingerprint["packages"].items():
        for inside, path in package_files(name, version, suffixes):
            document = read_file(f"{name}/{inside}", inside, path, tally)
            if document is not None:
                yield document
