"""Several sources together, each with a share of the bytes that stay (see `clean.select`)."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from scalelab.config import PartConfig
from scalelab.corpus.documents import Document, Tally
from scalelab.corpus.sources import Report, get_source, source


@source("mixture")
def mixture(
    config: dict[str, Any], fingerprint: dict[str, Any], tally: Tally, report: Report
) -> Iterator[Document]:
    """The documents of all parts, one part after another, named `part/...`."""
    parts = list(zip(config["mixture"], fingerprint["mixture"], strict=True))
    for number in range(tally.first(), len(parts)):
        part, found = parts[number]
        whole = {**asdict(PartConfig(name="part", weight=1)), **part}
        tally.begin(number)
        tally.part = (number,)
        for document in get_source(whole["source"])(whole, found, tally, report):
            yield Document(f"{whole['name']}/{document.name}", document.text, number)
        tally.part = ()
