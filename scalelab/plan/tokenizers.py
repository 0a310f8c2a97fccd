"""Which tokenizer `corpus.tokenizer` means, its files and its size. No transformers at import."""

import difflib
import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalelab.config import CorpusConfig
from scalelab.errors import UserError, shown
from scalelab.files import file_sha256
from scalelab.plan import ranks

TRAINED = ("bpe", "unigram")
"""Kinds that are trained on the corpus; `corpus.vocab_size` is theirs."""
OWN = (*TRAINED, "bytes")
"""Kinds that are made here."""
BYTES_VOCABULARY = 257
FAST = "tokenizer.json"
SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
"""Files beside a vocabulary that say which token ends a text."""
SLOW = ("vocab.json", "merges.txt", "vocab.txt", "spiece.model", "tokenizer.model", "config.json")
"""What transformers makes a fast tokenizer of where there is no tokenizer.json."""
WORDS = "bpe, unigram, bytes, a name on the Hugging Face hub, tiktoken:NAME or a path"


@dataclass(frozen=True)
class Found:
    """A tokenizer that others made, as it lies on disk.

    Attributes:
        name: what the study says.
        kind: `pretrained` (transformers, tokenizers) or `tiktoken`.
        folder: where its files are; None for an encoding that the library tiktoken knows by name.
        files: names in the folder of everything that it is made of, sorted.
    """

    name: str
    kind: str
    folder: Path | None
    files: tuple[str, ...]


def kind_of(name: str) -> str:
    """`bpe`, `unigram`, `bytes`, `tiktoken` or `pretrained`."""
    if name in OWN:
        return name
    return (
        "tiktoken" if name.startswith(ranks.PREFIX) or name.endswith(ranks.SUFFIX) else "pretrained"
    )


def vocabulary(config: CorpusConfig) -> int:
    """Ids that a model of this corpus must have: the largest one and one more.

    Raises:
        UserError: the tokenizer cannot be found or read, or `vocab_size` contradicts it.
    """
    if config.tokenizer in OWN:
        return BYTES_VOCABULARY if config.tokenizer == "bytes" else config.vocab_size
    size = _size(find(config.tokenizer))
    if config.vocab_size not in (CorpusConfig().vocab_size, size):
        raise UserError(
            f"corpus.vocab_size: found {config.vocab_size:,}, but the tokenizer "
            f"{config.tokenizer!r} has {size:,} ids; leave the key out (it is for "
            f"{' and '.join(TRAINED)})"
        )
    return size


def check(config: CorpusConfig) -> None:
    """Raise `UserError` where the keys of a tokenizer do not go together."""
    if config.separator is not None and config.tokenizer in OWN:
        raise UserError(
            f"corpus.separator: found {config.separator!r} with the tokenizer "
            f"{config.tokenizer!r}, which has <|endoftext|>; the key is for one made elsewhere"
        )


def identity(name: str) -> dict[str, Any]:
    """What in the fingerprint of a corpus stands for its tokenizer; empty for one made here.

    `{"tokenizer": {"files": [{"name", "bytes", "sha256"}]}}`, so that another file under the same
    name is another corpus.
    """
    if name in OWN:
        return {}
    found = find(name)
    if found.folder is None:
        return {"tokenizer": {"files": [], "sha256": ranks.named(found.name).sha256}}
    rows = [
        {
            "name": part,
            "bytes": (found.folder / part).stat().st_size,
            "sha256": file_sha256(found.folder / part),
        }
        for part in found.files
    ]
    return {"tokenizer": {"files": rows}}


def find(name: str) -> Found:
    """The files of a tokenizer: a path that exists, a name of tiktoken, or one of the hub.

    A name of the hub is looked up in the cache first and downloaded only where it is not there
    and HF_HUB_OFFLINE is not set. `NAME@REVISION` is a branch, a tag or a commit.

    Raises:
        UserError: it is none of these; what was looked at is said.
    """
    if name.startswith(ranks.PREFIX):
        rest = name.removeprefix(ranks.PREFIX)
        if not rest.endswith(ranks.SUFFIX):
            return Found(name, "tiktoken", None, ())
        return _local(name, Path(rest))
    path = Path(name).expanduser()
    if path.exists():
        return _local(name, path)
    if name.startswith((".", "/", "~")) or path.suffix in (".json", ranks.SUFFIX, ".model"):
        raise UserError(f"corpus.tokenizer: {name}: no such file or folder")
    return _on_hub(name)


def read_json_file(path: Path) -> Any:
    """JSON of a tokenizer's file; `UserError` where it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: expected a tokenizer's JSON, but it cannot be read ({error})"
        ) from None


def largest_id(described: Any, path: Path) -> int:
    """The largest id in a parsed tokenizer.json."""
    try:
        model = described["model"]["vocab"]
        own = range(len(model)) if isinstance(model, list) else model.values()
        return max(*own, *(int(token["id"]) for token in described.get("added_tokens") or ()), -1)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(
            f"{path}: expected a tokenizer of the tokenizers library with a vocabulary"
        ) from None


def open_slow(found: Found) -> Any:
    """A folder without tokenizer.json as transformers turns it into a fast tokenizer.

    Raises:
        UserError: transformers cannot; its reason is in the sentence.
    """
    from transformers import AutoTokenizer

    try:
        opened = AutoTokenizer.from_pretrained(str(found.folder), local_files_only=True)
        backend = getattr(opened, "backend_tokenizer", None)
    except Exception as error:  # whatever a tokenizer's own code raises
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"corpus.tokenizer: {found.name}: transformers cannot open it ({reason})"
        ) from None
    if backend is None:
        raise UserError(
            f"corpus.tokenizer: {found.name}: {type(opened).__name__} has no fast version, "
            f"expected a tokenizer that can be written as {FAST}"
        )
    return backend


def _local(name: str, path: Path) -> Found:
    if not path.exists():
        raise UserError(f"corpus.tokenizer: {path}: no such file or folder")
    if path.suffix == ranks.SUFFIX and path.is_file():
        return Found(name, "tiktoken", path.parent, (path.name,))
    if path.is_file():
        if path.suffix != ".json":
            raise UserError(
                f"corpus.tokenizer: {path}: expected a folder of a tokenizer, a tokenizer.json or "
                f"a file of tiktoken's ranks ({ranks.SUFFIX})"
            )
        beside = [part for part in SETTINGS if (path.parent / part).is_file()]
        own = beside if path.name == FAST else []
        return Found(name, "pretrained", path.parent, tuple(sorted([path.name, *own])))
    files = _files(path)
    if not files:
        raise UserError(
            f"corpus.tokenizer: {path}: holds no tokenizer, expected {FAST} (or "
            f"{', '.join(SLOW[:-1])})"
        )
    return Found(name, "pretrained", path, files)


def _files(folder: Path) -> tuple[str, ...]:
    """Files of a folder that its tokenizer is made of; none where it holds no vocabulary."""
    here = {part for part in (FAST, *SETTINGS, *SLOW) if (folder / part).is_file()}
    if FAST in here:
        return tuple(sorted(here & {FAST, *SETTINGS}))
    return tuple(sorted(here)) if here & set(SLOW[:-1]) else ()


def _on_hub(name: str) -> Found:
    repository, _, revision = name.partition("@")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", repository):
        raise UserError(f"corpus.tokenizer: found {shown(name)}, expected {WORDS}")
    from huggingface_hub import constants, snapshot_download

    settings: dict[str, Any] = {
        "revision": revision or None,
        "allow_patterns": [FAST, *SETTINGS, *SLOW],
    }
    try:
        folder = Path(snapshot_download(repository, local_files_only=True, **settings))
        if _files(folder):
            return Found(name, "pretrained", folder, _files(folder))
    except (OSError, ValueError):
        pass  # not in the cache
    where = f"{constants.HF_HUB_CACHE} (put its files there or give a path)"
    near = difflib.get_close_matches(name, OWN, n=1, cutoff=0.7)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    if ranks.offline() or constants.HF_HUB_OFFLINE:
        raise UserError(
            f"corpus.tokenizer: {name!r} is no file, is not in the cache {where}, and "
            f"HF_HUB_OFFLINE forbids to fetch it; expected {WORDS}{hint}"
        )
    try:
        folder = Path(snapshot_download(repository, **settings))
    except Exception as error:  # of the hub, of httpx, of the file system
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"corpus.tokenizer: {name!r} is no file, is not in the cache {where}, and cannot be "
            f"fetched ({reason}); expected {WORDS}{hint}"
        ) from None
    if not _files(folder):
        raise UserError(
            f"corpus.tokenizer: {name!r}: the repository holds no tokenizer, expected {FAST}"
        )
    return Found(name, "pretrained", folder, _files(folder))


def _size(found: Found) -> int:
    if found.folder is None:
        return ranks.named(found.name).size
    stats = [(found.folder / name).stat() for name in found.files]
    return _measured(found, tuple((stat.st_size, stat.st_mtime_ns) for stat in stats))


def settings_files(found: Found) -> list[Path]:
    """The files that may say which token ends a text."""
    folder = found.folder
    return [] if folder is None else [folder / name for name in SETTINGS if name in found.files]


def vocabulary_file(found: Found) -> Path | None:
    """The file of the tokenizers library; None where transformers has to make one of others."""
    names = [name for name in found.files if name not in (*SETTINGS, *SLOW)]
    return found.folder / names[0] if found.folder is not None and names else None


@functools.lru_cache(maxsize=64)
def _measured(found: Found, stamps: tuple[tuple[int, int], ...]) -> int:
    """Ids of a tokenizer on disk; `stamps` tell one state of its files from another."""
    path = vocabulary_file(found)
    if path is None:
        return int(max(open_slow(found).get_vocab(with_added_tokens=True).values())) + 1
    if found.kind == "tiktoken":
        return ranks.of_file(path).size
    return largest_id(read_json_file(path), path) + 1
