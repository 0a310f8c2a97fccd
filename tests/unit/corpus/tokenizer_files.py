"""Tokenizers as others leave them on disk: in the layout of the hub, as ranks, as pieces."""

import base64
import json
from pathlib import Path

from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

TEXT = [
    "the cat sat on the mat, the other cat did not sit\nno, it ran 1234567 times\n" * 20
    + "every document of a corpus becomes tokens, and tokens become numbers that models read\n" * 9
]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def byte_level(size: int = 300, separator: str = "</s>") -> Tokenizer:
    """BPE with the separator last but one, a frame of special tokens, truncation and padding."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size - 2, show_progress=False, initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.add_special_tokens([separator, "<pad>"])
    end = tokenizer.token_to_id(separator)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{separator} $A {separator}", special_tokens=[(separator, end)]
    )
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(pad_id=end + 1, pad_token="<pad>", length=8)
    return tokenizer


def pieces(*, fallback: bool = True, lower: bool = False) -> Tokenizer:
    """A unigram model as SentencePiece's: `▁` for a space, one put in front, bytes to fall back."""
    names = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    if fallback:
        names += [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    names += [("▁", -3.0), ("▁the", -2.0), ("▁cat", -3.0), ("\n", -4.0)]
    names += [(letter, -5.0) for letter in "abcdefghijklmnopqrstuvwxyz<>/,."]
    tokenizer = Tokenizer(models.Unigram(names, unk_id=0, byte_fallback=fallback))
    if lower:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer


def holes() -> Tokenizer:
    """Bytes alone, with an id far behind the others."""
    tokenizer = byte_level()
    described = json.loads(tokenizer.to_str())
    described["model"]["vocab"]["<far>"] = 70_000
    return Tokenizer.from_str(json.dumps(described))


def digits_apart() -> Tokenizer:
    """Byte-level, but what it splits at is removed: spaces are lost."""
    tokenizer = byte_level()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" "), "removed"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    return tokenizer


def on_hub(cache: Path, tokenizer: Tokenizer, name: str = "some/model", **settings: str) -> Path:
    """The cache of the hub as it is after a download; the folder of the snapshot."""
    root = cache / f"models--{name.replace('/', '--')}"
    folder = root / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(COMMIT)
    (root / "refs" / "v1").write_text(COMMIT)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def ranks() -> dict[bytes, int]:
    """Ranks of a small BPE: the bytes in an order of their own, then merges."""
    tokens = [bytes([(byte * 7 + 3) % 256]) for byte in range(256)]
    tokens += [b"th", b"the", b" the", b" c", b"at", b"cat", b" cat", b"12", b"123", b"it"]
    return {token: rank for rank, token in enumerate(tokens)}


def write_ranks(path: Path) -> Path:
    """A file of ranks as tiktoken reads it."""
    lines = [f"{base64.b64encode(token).decode()} {rank}" for token, rank in ranks().items()]
    path.write_text("\n".join(lines) + "\n")
    return path
