"""Text that models write: against writers whose scores are known, and each library's own answer."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from scalelab.corpus.shards import load
from scalelab.errors import UserError
from scalelab.evaluation.measure import decoder_of, subject_of
from scalelab.evaluation.measures import NotMeasured, Subject, _scores, _writing, generation
from scalelab.files import read_json

KINDS = {
    "GPT2LMHead": ("GPT2", {"n_layer": 2, "n_embd": 8, "n_head": 2, "n_positions": 32}),
    "GPTNeoForCausalLM": (
        "GPTNeo",
        {
            **{"hidden_size": 8, "num_layers": 2, "num_heads": 2, "max_position_embeddings": 32},
            **{"attention_types": [[["global", "local"], 1]], "window_size": 4},
        },
    ),
    "GPTJForCausalLM": (
        "GPTJ",
        {"n_layer": 2, "n_embd": 8, "n_head": 2, "n_positions": 32, "rotary_dim": 4},
    ),
    "LlamaForCausalLM": (
        "Llama",
        {
            **{"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2},
            **{"num_attention_heads": 2, "num_key_value_heads": 1},
        },
    ),
    "MixtralForCausalLM": (
        "Mixtral",
        {
            **{"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2},
            **{"num_attention_heads": 2, "num_key_value_heads": 1, "num_local_experts": 4},
        },
    ),
}
"""Those that our families export to."""
VOCABULARY = 40
SEPARATOR = 0
WORDS = [f"{one}{two}" for one in "bdfgklmn" for two in ("ax", "eel", "in", "oak", "un")]


def words(ids: np.ndarray) -> list[str]:
    return [" ".join(WORDS[i] for i in row) for row in ids]


def real(name):
    import transformers

    torch.manual_seed(4)
    kind, shape = KINDS[name]
    ends = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0}
    config = getattr(transformers, f"{kind}Config")(**shape, **ends, initializer_range=0.6)
    classes = {"GPT2LMHead": "GPT2LMHeadModel"}
    return getattr(transformers, classes.get(name, name))(config).eval()


class Writer(torch.nn.Module):
    """Reads and writes by one function: ids so far (W, T) to logits of what follows (W, T, V)."""

    def __init__(self, logits):
        super().__init__()
        self.place, self.logits = torch.nn.Parameter(torch.zeros(1)), logits

    def forward(self, ids, **_):
        return SimpleNamespace(logits=self.logits(ids))

    def generate(self, ids, max_new_tokens, **_):
        for _ in range(max_new_tokens):
            ids = torch.cat([ids, self.logits(ids)[:, -1:].argmax(-1)], 1)
        return ids


def subject(model, windows=None, decode=words):
    text = np.random.default_rng(1).integers(1, VOCABULARY, (40, 33))
    text[:, 0] = SEPARATOR
    text = text if windows is None else windows
    return Subject(model, text, lambda seen: text, np.arange(VOCABULARY), SEPARATOR, 3, decode)


def knowing(text, share=1.0):
    """Sure of the next token of the windows, or, of a share of the places, of a wrong one."""
    rng = np.random.default_rng(2)
    said = np.where(rng.random(text.shape) < share, text, text % (VOCABULARY - 1) + 1)
    starts = map(tuple, text[:, :9].tolist())
    by_start = dict(zip(starts, torch.from_numpy(said), strict=True))

    def logits(ids):
        found = torch.zeros(*ids.shape, VOCABULARY)
        for row, start in enumerate(ids[:, :9].tolist()):
            following = by_start[tuple(start)][1 : ids.shape[1] + 1]
            found[row, torch.arange(len(following)), following] = 30.0
        return found

    return logits


def test_a_model_that_knows_the_text_has_full_scores_and_chance_has_not():
    plain = subject(None)
    found = generation.generation(subject(Writer(knowing(plain.windows))))
    for name in ("greedy_bleu", "greedy_chrf", "greedy_rougeL"):
        assert found[name].value == pytest.approx(100), name
        assert found[name].se == pytest.approx(0, abs=1e-9)
    assert found["right"].value == found["four_right"].value == 1
    assert found["reference_nats"].value == pytest.approx(0, abs=1e-6)
    assert 0 < found["other_chrf"].value < 50 and found["other_bleu"].value < 10
    assert found["other_rougeL"].value < 30


def test_one_wrong_token_in_five_is_a_steady_loss_and_most_of_the_runs_of_four():
    """Schaeffer et al. 2023, section 2: a run of k has the k-th power of a token's chance."""
    text = np.random.default_rng(6).integers(1, VOCABULARY, (250, 33))
    found = generation.generation(subject(Writer(knowing(text, share=0.8)), text))
    assert found["right"].value == pytest.approx(0.8, abs=4 * found["right"].se)
    assert found["four_right"].value == pytest.approx(0.8**4, abs=4 * found["four_right"].se)
    assert found["four_right"].se < 0.03


@pytest.mark.parametrize("name", KINDS)
def test_text_written_with_a_cache_is_that_written_without(name):
    model = real(name)
    asked = subject(model)
    given = asked.windows[:6, :12]
    ids = torch.from_numpy(given)
    with torch.inference_mode():
        for _ in range(8):
            logits = model(ids, use_cache=False).logits[:, -1]
            logits[:, SEPARATOR] = -torch.inf
            ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], 1)
    assert np.array_equal(_writing.write(asked, given, 8)[0], ids[:, 12:].numpy())


def test_drawn_tokens_come_as_often_as_the_model_says_and_leave_the_state():
    model = real("GPT2LMHead")
    asked = subject(model)
    given = np.repeat(asked.windows[:1, :12], 3000, axis=0)
    before = torch.random.get_rng_state()
    first = _writing.write(asked, given, 1)[1][:, 0]
    assert torch.equal(before, torch.random.get_rng_state())
    with torch.no_grad():
        logits = model(torch.from_numpy(given[:1])).logits[0, -1]
    logits[SEPARATOR] = -torch.inf
    chances = logits.softmax(-1).double().numpy()
    seen = np.bincount(first, minlength=VOCABULARY) / len(first)
    error = np.sqrt(chances * (1 - chances) / len(first))
    assert (np.abs(seen - chances) <= 4.5 * error + 1e-12).all()
    assert seen[SEPARATOR] == 0 and (seen > 0).sum() > 5
    again = _writing.write(asked, given, 1)[1][:, 0]
    assert np.array_equal(first, again)


@pytest.mark.parametrize("count", [2, 3, 8, 41])
def test_no_window_meets_its_own_reference(count):
    rows = np.arange(count)[:, None]
    for seed in range(20):
        found = generation.another(rows, np.random.default_rng(seed))
        assert sorted(found[:, 0]) == list(range(count))
        assert (found != rows).all()


def test_scores_are_those_of_the_libraries():
    import sacrebleu
    from rouge_score.rouge_scorer import RougeScorer

    rng = np.random.default_rng(8)
    true = rng.integers(0, VOCABULARY, (30, 12))
    made = np.where(rng.random(true.shape) < 0.7, true, rng.integers(0, VOCABULARY, true.shape))
    written, references = words(made), words(true)
    found = _scores.scores(written, references, rng)
    assert found["bleu"].value == pytest.approx(sacrebleu.corpus_bleu(written, [references]).score)
    theirs = sacrebleu.BLEU(references=[references]).corpus_score(written, None, n_bootstrap=400)
    assert found["bleu"].se == pytest.approx(theirs._ci / 1.96, rel=0.3)
    rouge = RougeScorer(["rougeL"])
    f = [rouge.score(b, a)["rougeL"].fmeasure for a, b in zip(written, references, strict=True)]
    assert found["rougeL"].value == pytest.approx(100 * np.mean(f))
    chrf = [
        sacrebleu.CHRF().sentence_score(a, [b]).score
        for a, b in zip(written, references, strict=True)
    ]
    assert found["chrf"].value == pytest.approx(np.mean(chrf))


def test_repetition_and_diversity_counted_by_hand():
    rows = np.array([[1, 2, 3, 4, 1, 2, 3, 4], [5, 5, 5, 5, 5, 5, 5, 5], [1, 2, 3, 4, 5, 6, 7, 8]])
    # Five 4-grams each: 1234 comes twice; one alone; all different.
    assert _scores.repeated(rows).value == pytest.approx((1 / 5 + 4 / 5 + 0) / 3)
    # Pairs: 12 23 34 41; 55; and of the third 45 56 67 78 are new. 21 in all.
    found = _scores.distinct(rows)
    assert found.value == pytest.approx(9 / 21)
    without = [_scores.distinct(np.delete(rows, at, axis=0)).value for at in range(3)]
    assert found.se == pytest.approx(np.sqrt(2 / 3 * np.square(without - np.mean(without)).sum()))


def test_the_error_of_diversity_is_that_between_sets_of_texts():
    rng = np.random.default_rng(3)
    chances = 1 / np.arange(1, 41)
    sets = [
        _scores.distinct(rng.choice(40, (50, 12), p=chances / chances.sum())) for _ in range(150)
    ]
    between = np.std([one.value for one in sets], ddof=1)
    assert np.mean([one.se for one in sets]) == pytest.approx(between, rel=0.25)


def test_the_separator_is_in_no_reference():
    """Windows where a document ends before the reference does are left out."""
    plain = subject(None)
    text = plain.windows.copy()
    ended = text.copy()
    ended[:, 20] = SEPARATOR
    both = subject(Writer(knowing(text)), np.concatenate([text, ended]))
    alone = subject(Writer(knowing(text)), text)
    assert generation.generation(both) == generation.generation(alone)
    with pytest.raises(NotMeasured, match="0 windows of 24 tokens of one document, expected 8"):
        generation.generation(subject(Writer(knowing(text)), ended))


def test_a_model_without_a_decoder_says_so():
    with pytest.raises(NotMeasured, match="no decoder that writes text with a cache"):
        generation.generation(subject(None, decode=None))


def test_texts_of_a_run_are_those_of_its_corpus(trained, corpus_folder):
    run, corpus = read_json(trained / "run.json"), load(corpus_folder)
    settings = {"split": "test", "windows": 9, "seed": 1}
    asked = subject_of(trained, run, corpus, corpus_folder, settings, threads=1)
    for row, text in zip(asked.windows, asked.decode(asked.windows[:, 1:]), strict=True):
        # Of the bytes tokenizer an id is a byte and one.
        assert text == bytes((row[1:] - 1).tolist()).decode("ascii")
    silent = SimpleNamespace(can_generate=lambda: False)
    assert decoder_of(silent, trained / "checkpoint") is None
    assert decoder_of(asked.model, trained) is None, "no tokenizer there"


@pytest.mark.parametrize("package", ["sacrebleu", "rouge_score"])
def test_a_library_that_is_not_there_is_named_before_any_work(package, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    nothing = replace(subject(None), windows=None)
    with pytest.raises(UserError, match=rf"{package}.*pip install 'scalelab\[generation\]'"):
        generation.generation(nothing)
