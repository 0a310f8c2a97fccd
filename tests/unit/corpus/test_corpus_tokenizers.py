import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizer_files as made
from huggingface_hub import constants
from tokenizers import Tokenizer

from scalelab.config import CorpusConfig
from scalelab.corpus import coder, load
from scalelab.corpus.coder import Coder
from scalelab.corpus.documents import Document
from scalelab.corpus.prepare import prepare
from scalelab.corpus.tokenizers import kinds
from scalelab.corpus.tokenizers.unigram import train_unigram
from scalelab.errors import UserError
from scalelab.plan import tokenizers as plan
from scalelab.plan.tokenizers import OWN

ODD = bytes.fromhex("61 E280A8 62 0D0A 63 0C 64 0D 65 0A0A0A 20 66 20 0A EFBBBF 67").decode()
TEXTS = [ODD, "a\nb\n\nc\n", "naïve 日本語 🙂\0\x7f\x80", "a</s><|endoftext|>b", "it ran 1234567"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, a working folder, no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "ranks"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def settings(name: str, **fields: Any) -> CorpusConfig:
    return CorpusConfig(tokenizer=name, **fields)


def make(name: str, **fields: Any) -> Coder:
    config = settings(name, **fields)
    fingerprint = plan.identity(name)
    found = coder.make(asdict(config), fingerprint, made.TEXT, lambda _: None)
    assert found.size == plan.vocabulary(config), "the models of the plan fit"
    return found


def one_of_each(cache: Path) -> dict[str, str]:
    made.on_hub(cache, made.byte_level(), eos_token="</s>")
    return {
        **{name: name for name in OWN},
        "pretrained": "some/model",
        "tiktoken": str(made.write_ranks(cache.parent / "small.tiktoken")),
    }


def test_any_text_comes_back_from_every_kind(cache: Path) -> None:
    """Case T17, over the whole registry."""
    names = one_of_each(cache)
    assert set(names) == set(kinds())
    for kind, name in names.items():
        sizes = {"vocab_size": 280} if kind in plan.TRAINED else {}
        found = make(name, **sizes)
        ids = list(found.encode(TEXTS))
        found.check([Document(str(i), text) for i, text in enumerate(TEXTS)], ids)
        for text, row in zip(TEXTS, ids, strict=True):
            assert found.bytes_of(text, row).sum() == len(text.encode()), kind
            assert found.separator_id not in row, "written out it is text"


def test_unigram_of_one_text_is_one_file() -> None:
    found = train_unigram(made.TEXT, 280)
    assert found.get_vocab_size() == 280 and found.token_to_id("<|endoftext|>") == 0
    assert found.to_str() == train_unigram(made.TEXT, 280).to_str()
    scores = dict(json.loads(found.to_str())["model"]["vocab"])
    unseen = {scores[character] for character in "ĀāĂăĄą"}  # control characters
    assert len(unseen) == 1
    assert len(found.encode("the other cat").ids) < 13
    with pytest.raises(UserError, match=r"yields only \d+ tokens, expected 512"):
        train_unigram(["abc abc"], 512)


@pytest.mark.parametrize("name", ["some/model", "some/model@v1", "folder", "file.json"])
def test_by_name_revision_folder_and_file(cache: Path, name: str) -> None:
    tokenizer = made.byte_level()
    folder = made.on_hub(cache, tokenizer, eos_token="</s>")
    if name == "folder":
        folder.rename("folder")
    tokenizer.save("file.json")
    found = make(name)
    assert (found.size, found.separator, found.separator_id) == (300, "</s>", 298)
    (ids,) = found.encode(["the cat " * 20])
    tokenizer.no_truncation()
    tokenizer.no_padding()
    assert len(ids) > 8, "neither cut nor filled up"
    assert ids.tolist() == tokenizer.encode("the cat " * 20, add_special_tokens=False).ids


def test_without_tokenizer_json_transformers_makes_one() -> None:
    tokenizer = made.byte_level(separator="<|endoftext|>")
    Path("old").mkdir()
    tokenizer.model.save("old")
    Path("old/tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')
    found = make("old")
    assert found.separator == "<|endoftext|>"
    (ids,) = found.encode(["the other cat"])
    assert found.tokenizer.decode(ids.tolist()) == "the other cat"


def test_another_file_under_one_name_is_another_corpus() -> None:
    """Case T22."""
    made.byte_level().save("tokenizer.json")
    config = settings("tokenizer.json", source="files")
    first = plan.identity("tokenizer.json")
    made.byte_level(310).save("tokenizer.json")
    assert plan.identity("tokenizer.json") != first
    assert plan.vocabulary(config) == 310
    with pytest.raises(UserError, match="have changed since the plan"):
        coder.make(asdict(config), first, (), lambda _: None)


def test_without_network_the_message_says_where_files_go(cache: Path) -> None:
    """Case H01."""
    with pytest.raises(UserError, match=r"'gpt2' is no file, is not in the cache .*put its files"):
        plan.vocabulary(settings("gpt2"))
    with pytest.raises(UserError, match=r"did you mean 'unigram'"):
        plan.vocabulary(settings("unigrams"))
    assert make("bytes").size == 257
    assert not cache.exists()


def test_own_tokenizers_load_neither_the_hub_nor_transformers() -> None:
    """Case H01: a ladder on bytes needs nothing of the hub."""
    code = (
        "import sys; from dataclasses import asdict; from scalelab.config import CorpusConfig; "
        "from scalelab.corpus import coder; c = CorpusConfig(tokenizer='bytes'); "
        "coder.make(asdict(c), {}, (), print); "
        "print([n for n in ('transformers', 'huggingface_hub', 'torch') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_workers_after_encoding_neither_warn_nor_hang() -> None:
    """Case H04."""
    code = (
        "import os; from scalelab.corpus import tokenizer as t; b = t.train_bpe(['ab ab'], 258)\n"
        "n = len(list(t.encode(b, ['ab ab'] * 64)))\n"
        "for _ in range(2):\n"
        "    p = os.fork()\n"
        "    if not p: os._exit(len(list(t.encode(b, ['ab']))) - 1)\n"
        "    assert os.waitpid(p, 0)[1] == 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "huggingface" not in done.stderr and "PARALLELISM" not in done.stderr


def test_ranks_become_the_ids_of_tiktoken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own encoding is the oracle: pattern, special tokens at their ids, a hole."""
    tiktoken = pytest.importorskip("tiktoken")
    from tiktoken import registry
    from tiktoken_ext import openai_public

    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", lambda *_, **__: made.ranks())
    monkeypatch.setattr(registry, "ENCODINGS", {})
    oracle = tiktoken.get_encoding("cl100k_base")
    texts = [*TEXTS, "  the cat's\n\n  123456789 it \r\n", "日本 THE 12"]
    made.write_ranks(Path("cl100k_base.tiktoken"))
    for name in ("tiktoken:cl100k_base", "cl100k_base.tiktoken", "tiktoken:cl100k_base.tiktoken"):
        found = make(name)
        assert (found.size, found.separator_id) == (100_277, 100_257)
        assert found.dtype == np.uint32
        for text, ids in zip(texts, found.encode(texts), strict=True):
            assert ids.tolist() == oracle.encode(text, disallowed_special=()), (name, text)


def test_wrong_ranks_and_names_of_tiktoken(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tiktoken")
    with pytest.raises(UserError, match=r"did you mean tiktoken:cl100k_base\?"):
        plan.identity("tiktoken:cl100k")
    with pytest.raises(UserError, match=r"not in TIKTOKEN_CACHE_DIR .*HF_HUB_OFFLINE forbids"):
        plan.identity("tiktoken:cl100k_base")
    Path("x.tiktoken").write_text("IQ== 0\nnonsense\n")
    with pytest.raises(UserError, match=r"x.tiktoken, line 2: found 'nonsense'"):
        plan.vocabulary(settings("x.tiktoken"))
    Path("x.tiktoken").write_text("IQ== 0\n")
    with pytest.raises(UserError, match="no rank for the byte 0"):
        plan.vocabulary(settings("x.tiktoken"))
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    with pytest.raises(UserError, match="pip install tiktoken"):
        plan.identity("tiktoken:cl100k_base")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("./nowhere", "no such file"),
        ("some.model", "no such file"),
        ("empty", "holds no tokenizer"),
        ("text.txt", "expected a folder of a tokenizer"),
        ("broken.json", "expected a tokenizer's JSON"),
        ("list.json", "with a vocabulary"),
        ("two words", "expected bpe, unigram, bytes"),
    ],
)
def test_what_is_no_tokenizer(name: str, words: str) -> None:
    Path("empty").mkdir()
    Path("text.txt").write_text("text")
    Path("broken.json").write_text("{")
    Path("list.json").write_text("[1]")
    with pytest.raises(UserError, match=words):
        plan.vocabulary(settings(name))


def test_keys_that_contradict_a_tokenizer() -> None:
    made.byte_level(separator="<end>").save("t.json")
    with pytest.raises(UserError, match=r"found 1,024, but the tokenizer 't.json' has 300 ids"):
        plan.vocabulary(settings("t.json", vocab_size=1024))
    with pytest.raises(UserError, match=r"names no token that ends a text.*'<end>', '<pad>'"):
        make("t.json")
    with pytest.raises(UserError, match=r"has no token '<fin>'.*'<end>'"):
        make("t.json", separator="<fin>")
    assert make("t.json", separator="<end>").separator_id == 298
    with pytest.raises(UserError, match="the key is for one made elsewhere"):
        plan.check(settings("bpe", separator="<end>"))


def test_ids_behind_a_hole_are_counted() -> None:
    """Case T12: the largest id decides, not how many there are."""
    made.holes().save("t.json")
    found = make("t.json")
    assert found.size == 70_001 and found.dtype == np.uint32
    (ids,) = found.encode(["<far>"])
    assert ids.max() < 70_001


def test_a_unigram_model_does_not_read_its_special_tokens_in_text() -> None:
    made.pieces().save("t.json")
    found = make("t.json")
    assert found.separator == "</s>" and found.table is None
    texts = ["the</s>cat <s> <unk>", "日\n"]
    ids = list(found.encode(texts))
    found.check([Document("x", text) for text in texts], ids)
    assert all(found.separator_id not in row for row in ids)
    plain = Tokenizer.from_file("t.json").encode("the cat, a mat").ids
    assert next(found.encode(["the cat, a mat"])).tolist() == plain, "other text is cut as before"


Make = Callable[..., dict[str, Any]]


def test_a_corpus_of_a_tokenizer_made_elsewhere(
    cache: Path, texts: list[str], specification: Make
) -> None:
    """The separator is the tokenizer's own, bytes are those of the files, training reads it."""
    made.pieces().save("t.json")
    spec = specification(texts, tokenizer="t.json", test_tokens=3000, tuning_tokens=2000)
    prepare(spec, Path("out"), lambda _: None)
    corpus = load(Path("out"))
    assert corpus.separator == 2 and corpus.manifest["tokenizer"]["separator"] == "</s>"
    train = corpus.tokens["train"]
    assert train[0] == train[-1] == 2
    splits = corpus.manifest["splits"]
    assert int((train == 2).sum()) == splits["train"]["documents"] + 1
    again = coder.load(Path("out"))
    for split in ("test", "tuning"):
        assert corpus.bytes(split) == corpus.pieces[split][:, 3].sum()
        rows = json.loads(Path(f"out/{split}.docs.json").read_text())["documents"]
        for start, end, number, size in corpus.pieces[split].tolist():
            text = Path(rows[number]["name"]).read_text(encoding="utf-8")
            piece = again.tokenizer.decode(corpus.tokens[split][start:end].tolist())
            # A piece that starts within a document decodes without the space before it.
            assert size - len(piece.encode()) in (0, 1) and piece in text
            assert (corpus.tokens[split][start:end] != 2).all()


def test_a_tokenizer_that_loses_text_is_refused(texts: list[str], specification: Make) -> None:
    made.pieces(lower=True).save("t.json")
    for name in texts:
        path = Path(name)
        path.write_text(path.read_text().replace("e", "E"))
    sizes = {"test_tokens": 3000, "tuning_tokens": 2000}
    spec = specification(texts, tokenizer="t.json", **sizes)
    with pytest.raises(
        UserError, match=r"text/\d+.txt: the tokenizer does not give back.*character [\d,]+ is 'E"
    ):
        prepare(spec, Path("out"), lambda _: None)
    assert not Path("out").exists()
    spec = specification(texts, tokenizer="t.json", round_trip=False, **sizes)
    manifest = prepare(spec, Path("out"), lambda _: None)
    assert manifest["splits"]["test"]["bytes"] > 3000 - 100, "bytes of the text all the same"


def test_new_keys_leave_old_ids_alone() -> None:
    from scalelab.plan.data import settings as entered

    assert not {"separator", "round_trip"} & set(entered(CorpusConfig()))
    changed = replace(CorpusConfig(tokenizer="x/y"), separator="</s>")
    assert entered(changed)["separator"] == "</s>"
