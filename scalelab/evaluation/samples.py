"""Text that the models of a study write: what a loss means, for a reader.

Held-out documents are begun, and the best run of each size goes on. Every size has the same
beginnings and the same random numbers. Shape suffixes: B prompts, T tokens, V vocabulary.
"""

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from scalelab.corpus import coder
from scalelab.corpus.shards import Corpus, load
from scalelab.errors import UserError
from scalelab.files import read_json, write_json
from scalelab.models import LanguageModel
from scalelab.models.checkpoint import load_model
from scalelab.plan.symbols import SYMBOLS
from scalelab.provenance import manifest
from scalelab.seeds import stream
from scalelab.training import machine

CUT = "\N{REPLACEMENT CHARACTER}"
"""What decoding gives for half of a character."""


@dataclass(frozen=True)
class Settings:
    """How text is written."""

    prompts: int = 3
    """Held-out documents that are begun."""
    prompt_tokens: int = 48
    """Length of a beginning; half of the smallest context at most."""
    tokens: int = 60
    """Length of what a model adds."""
    temperature: float = 0.8
    """Logits are divided by it. All tokens of the vocabulary may come."""
    most_sizes: int = 12
    """More sizes than this are thinned evenly, the ends kept."""
    seed: int = 0


@dataclass(frozen=True)
class Prompt:
    """The beginning of a held-out document, and how it really goes on."""

    text: str
    goes_on: str


def samples(
    runs_csv: Path,
    runs_root: Path,
    corpora: Path,
    out: Path,
    settings: Settings,
    threads: int,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Write the continuations of the best run of each size to `out`.

    A size whose checkpoint is gone, or whose family does not give its logits, has a reason in the
    place of texts. Runs on pixels and samples are left out.

    Raises:
        UserError: a file is missing or damaged, or a setting is not positive.
    """
    for name in ("temperature", "prompts", "tokens", "prompt_tokens", "most_sizes"):
        value = getattr(settings, name)
        if not (math.isfinite(value) and value > 0):
            raise UserError(f"{name}: found {value}, expected a positive number")
    table = read_rows(runs_csv)
    texts = {name for name in {row["corpus"] for row in table} if _is_text(corpora / name)}
    rows = [row for row in table if row["corpus"] in texts]
    rows = thinned(best_of_sizes(rows), settings.most_sizes)
    result: dict[str, Any] = {"settings": asdict(settings), "prompts": [], "sizes": []}
    prompts: list[Prompt] = []
    if rows:
        context = min(int(row["context"]) for row in rows)
        length = max(1, min(settings.prompt_tokens, context // 2))
        first = corpora / rows[0]["corpus"]
        prompts = choose_prompts(load(first), coder.load(first).tokenizer, settings, length)
        machine.set_up(threads)
    for row in rows:
        written, reason = _texts(row, runs_root, corpora, prompts, settings)
        result["sizes"].append(
            {
                **{key: row[key] for key in ("id", "label")},
                **{key: float(row[key]) for key in ("N", "D", "loss_nats")},
                "texts": written,
                "reason": reason,
            }
        )
        report(f"samples: {row['label']}: {reason or f'{len(written)} texts'}")
    result["prompts"] = [asdict(prompt) for prompt in prompts]
    result["provenance"] = manifest([asdict(settings), [row["id"] for row in rows]])
    write_json(out, result)
    return result


def _is_text(corpus: Path) -> bool:
    """Whether a corpus is text; pixels and samples say nothing to a reader."""
    spec = read_json(corpus / "manifest.json")["spec"]
    return spec["config"]["source"] not in SYMBOLS


COLUMNS = ("id", "label", "status", "N", "loss_nats", "context", "corpus")


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of runs.csv."""
    try:
        with open(path, encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle)
            rows, header = list(reader), reader.fieldnames or []
    except (FileNotFoundError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: expected the table of a study's runs, but {error}") from None
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise UserError(f"{path}: column {missing[0]} is missing; found {', '.join(header)}")
    return rows


def best_of_sizes(rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The run of least held-out loss of each N, by rising N. Bits per byte decide where all runs
    have them, since they compare across vocabularies."""
    good = [dict(row) for row in rows if row["status"] == "ok" and row["loss_nats"]]
    column = "bits_per_byte" if all(row.get("bits_per_byte") for row in good) else "loss_nats"
    best: dict[float, dict[str, str]] = {}
    for row in good:
        kept = best.get(float(row["N"]))
        if kept is None or float(row[column]) < float(kept[column]):
            best[float(row["N"])] = row
    return [best[size] for size in sorted(best)]


def thinned(rows: list[dict[str, str]], most: int) -> list[dict[str, str]]:
    """At most `most` rows, evenly apart, first and last kept."""
    if len(rows) <= most:
        return rows
    places = np.unique(np.linspace(0, len(rows) - 1, most).round().astype(int))
    return [rows[place] for place in places]


def choose_prompts(
    corpus: Corpus, tokenizer: Tokenizer, settings: Settings, length: int
) -> list[Prompt]:
    """Beginnings of `length` tokens of documents of the test split, evenly apart in it.

    Documents long enough for what follows come first; where these are too few, the longest.
    """
    pieces = corpus.pieces["test"]
    starts = pieces[np.unique(pieces[:, 2], return_index=True)[1]]
    starts = starts[np.argsort(starts[:, 0], kind="stable")]
    sizes = starts[:, 1] - starts[:, 0]
    fit = np.flatnonzero(sizes >= length + settings.tokens)
    if len(fit) < settings.prompts:
        fit = np.sort(np.argsort(-sizes, kind="stable")[: settings.prompts])
    places = np.unique(np.linspace(0, len(fit) - 1, settings.prompts + 2).round().astype(int))
    chosen = fit[places[1:-1]] if len(fit) >= settings.prompts + 2 else fit[: settings.prompts]
    found = []
    for first, last in starts[chosen, :2].tolist():
        ids = corpus.tokens["test"][first:last].tolist()
        text = _decode(tokenizer, ids[:length]).rstrip(CUT)
        whole = _decode(tokenizer, ids[: length + settings.tokens]).rstrip(CUT)
        found.append(Prompt(text, whole[len(text) :]))
    return found


def _texts(
    row: Mapping[str, str],
    runs_root: Path,
    corpora: Path,
    prompts: Sequence[Prompt],
    settings: Settings,
) -> tuple[list[str], str | None]:
    """What a run makes of each prompt, or why it makes nothing."""
    folder = runs_root / row["id"]
    if not (folder / "checkpoint" / "model.safetensors").is_file():
        return [], "its checkpoint is not there"
    coded = coder.load(corpora / row["corpus"])
    separator, tokenizer = coded.separator_id, coded.tokenizer
    model, shape = load_model(folder, read_json(folder / "run.json"), separator)
    if not can_write(model):
        return [], f"the family {shape.family} does not give its logits"
    model = model.to(machine.device()).eval()
    texts = []
    for number, prompt in enumerate(prompts):
        ids = [separator, *tokenizer.encode(prompt.text, add_special_tokens=False).ids]
        generator = torch.Generator().manual_seed(stream(settings.seed, f"samples-{number}"))
        added = write(
            model,
            ids,
            settings.tokens,
            shape.context,
            settings.temperature,
            generator,
            separator,
        )
        # Decoded with the prompt, since a character may be cut by the end of the prompt.
        whole = _decode(tokenizer, [*ids[1:], *added]).rstrip(CUT)
        texts.append(whole[len(_decode(tokenizer, ids[1:])) :])
    return texts, None


def can_write(model: LanguageModel) -> bool:
    """Whether a model has `hidden(inputs)`, and `logits(hidden)` or the embedding `tokens` that is
    its head."""
    tied = hasattr(getattr(model, "tokens", None), "weight")
    return hasattr(model, "hidden") and (hasattr(model, "logits") or tied)


def next_logits(model: Any, ids_BT: torch.Tensor) -> torch.Tensor:
    """Logits (B, V) of the token after the last one, in fp32."""
    last = model.hidden(ids_BT)[:, -1]
    given = model.logits(last) if hasattr(model, "logits") else last @ model.tokens.weight.T
    return given.float()  # type: ignore[no-any-return]


def write(
    model: LanguageModel,
    ids: Sequence[int],
    count: int,
    context: int,
    temperature: float,
    generator: torch.Generator,
    separator: int,
) -> list[int]:
    """Up to `count` ids after `ids`, drawn from softmax(logits / temperature).

    The model sees the last `context` ids. The end of a document (the separator) ends the text and
    is not part of it.
    """
    written = list(ids)
    device = next(model.parameters()).device
    with torch.inference_mode():
        for _ in range(count):
            window = torch.tensor([written[-context:]], device=device)
            logits = next_logits(model, window)[0].cpu()
            chances = torch.softmax(logits / temperature, -1)
            token = int(torch.multinomial(chances, 1, generator=generator))
            if token == separator:
                break
            written.append(token)
    return written[len(ids) :]


def _decode(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=False))
