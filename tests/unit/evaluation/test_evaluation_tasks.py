"""The measure tasks: scores through lm-evaluation-harness against those counted token by token."""

import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_evaluation_task_items import CONTEXT, documents

from scalelab.errors import UserError
from scalelab.evaluation.measures import NotMeasured, Subject, _harness, _items, tasks
from scalelab.plan.tasks import OWN
from scalelab.seeds import stream

SEPARATOR, VOCABULARY = 0, 257


def encode(text):
    """Ids of the bytes tokenizer: a byte and one."""
    return [SEPARATOR, *(byte + 1 for byte in text.encode())]


def decode(rows):
    names = ["<|endoftext|>", *map(chr, range(256))]
    return ["".join(names[i] for i in row.tolist()) for row in rows]


@pytest.fixture(scope="module")
def subject(lm_eval, trained, tmp_path_factory):
    """A random model of 160 bytes, with the tokenizer of a trained run, and documents."""
    import transformers

    folder = tmp_path_factory.mktemp("checkpoint")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(trained / "checkpoint" / name, folder)
    torch.manual_seed(2)
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=CONTEXT + 1,
        n_embd=16,
        n_layer=2,
        n_head=2,
        initializer_range=0.4,
        bos_token_id=0,
        eos_token_id=0,
    )
    return Subject(
        model=transformers.GPT2LMHeadModel(config).eval(),
        windows=np.zeros((8, CONTEXT + 2), dtype=np.int64),
        blocks=lambda seen: np.zeros((0, 1)),
        known=np.arange(VOCABULARY),
        separator=SEPARATOR,
        seed=5,
        decode=decode,
        texts=lambda: documents(count=24),
        folder=folder,
        settings={"tasks": list(OWN), "windows": 16},
    )


@pytest.fixture(scope="module")
def found(subject):
    return tasks.tasks(subject)


def items_of(subject, name):
    """The items of the measure: the same draws, in its order."""
    rng = np.random.default_rng(stream(subject.seed, f"task-{name}"))
    texts = subject.texts()
    texts = [texts[place] for place in rng.permutation(len(texts))]
    draws = (rng,) if name in ("acceptable", "follows") else ()
    make = getattr(_items, name)
    return list(make(texts, len, subject.context - 1, *draws))[: subject.settings["windows"]]


def nats(subject, given, told):
    """Log-likelihood of a continuation, and whether each of its tokens is the likeliest."""
    ids = torch.tensor([encode(given + told)])
    with torch.no_grad():
        logits = subject.model(ids).logits[0, :-1].double().log_softmax(-1)
    places = torch.arange(len(told)) + len(given)
    answers = ids[0, 1:][places]
    right = bool((logits[places].argmax(-1) == answers).all())
    return float(logits[places, answers].sum()), right


def close(estimate, values):
    values = np.array(values, dtype=float)
    assert estimate.value == pytest.approx(values.mean(), rel=1e-4, abs=1e-5)
    error = values.std(ddof=1) / len(values) ** 0.5
    assert estimate.se == pytest.approx(error, rel=1e-3, abs=1e-5)


def test_a_word_by_its_nats_and_whether_it_is_the_likeliest(subject, found):
    answers = [(item, nats(subject, *item.requests[0])) for item in items_of(subject, "cloze")]
    assert len(answers) == 16
    close(found["cloze_nats"], [-value / item.tokens for item, (value, _) in answers])
    close(found["cloze_accuracy"], [right for _, (_, right) in answers])
    assert found["cloze_chance"].value == 0 and found["cloze_chance"].se is None


def test_margins_and_accuracies_are_those_of_whole_sums(subject, found):
    told = {
        name: [
            [nats(subject, *one)[0] for one in item.requests] for item in items_of(subject, name)
        ]
        for name in ("choice", "acceptable", "follows")
    }
    margins = {
        "choice": [one[0] - max(one[1:]) for one in told["choice"]],
        "acceptable": [one[0] - one[1] for one in told["acceptable"]],
        "follows": [one[0] + one[1] - one[2] - one[3] for one in told["follows"]],
    }
    for name, values in margins.items():
        close(found[f"{name}_margin_nats"], values)
        close(found[f"{name}_accuracy"], [value > 0 for value in values])
    assert [found[f"{name}_chance"].value for name in margins] == [0.25, 0.5, 0.5]


def test_a_span_is_read_and_written_as_one_text_alone_would_be(subject, found):
    read, gains, exact, f1 = [], [], [], []
    for item in items_of(subject, "span"):
        (given, answer), (without, _) = item.requests
        read.append(-nats(subject, given, answer)[0] / item.tokens)
        gains.append(read[-1] * -1 - nats(subject, without, answer)[0] / item.tokens)
        text = written(subject, given, item.tokens + _items.SPARE // 2)
        exact.append(_harness.words_of(text) == _harness.words_of(answer))
        f1.append(_harness.overlap(text, answer))
    close(found["span_nats"], read)
    close(found["span_gain_nats"], gains)
    close(found["span_accuracy"], exact)
    close(found["span_f1"], f1)


def written(subject, given, most):
    """The likeliest text, up to a stop or an empty line, without a cache or a batch."""
    text = given
    for _ in range(most):
        with torch.no_grad():
            best = int(subject.model(torch.tensor([encode(text)])).logits[0, -1].argmax())
        if best == SEPARATOR:
            break
        text += chr(best - 1)
        if text.endswith((".", "\n\n")) and len(text) > len(given):
            break
    return text.removeprefix(given).split(".")[0].split("\n\n")[0]


def test_an_answer_is_compared_as_squad_compares_words(subject):
    item = items_of(subject, "span")[0]
    right = item.answer
    scores = tasks._span(item, [(-1.0, True), (-9.0, False), right])
    assert scores["accuracy"] == scores["f1"] == 1
    assert scores["gain_nats"] == pytest.approx(8 / item.tokens)
    half = tasks._span(item, [(-1.0, True), (-9.0, False), f" the {right.split()[0]} thing"])
    assert half["accuracy"] == 0 and half["f1"] == pytest.approx(0.5)
    assert tasks._span(item, [(-1.0, True), (-9.0, False), ""])["f1"] == 0


def test_a_tie_is_half_right(subject):
    item = items_of(subject, "acceptable")[0]
    assert tasks._acceptable(item, [(-3.0, False), (-3.0, False)])["accuracy"] == 0.5


def test_asking_leaves_random_numbers_as_they_were(subject):
    import random

    torch.manual_seed(11), random.seed(11), np.random.seed(11)
    before = (torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].copy())
    again = tasks.tasks(replace(subject, settings={"tasks": ["cloze"], "windows": 9}))
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1] == random.getstate()
    assert np.array_equal(before[2], np.random.get_state()[1])
    assert set(again) == {"cloze_nats", "cloze_accuracy", "cloze_chance"}


def test_too_few_items_and_no_decoder_are_reasons(subject):
    with pytest.raises(NotMeasured, match=r"5 items of the task cloze .* expected 8 or more"):
        tasks.tasks(replace(subject, texts=lambda: documents(count=5)))
    with pytest.raises(NotMeasured, match="no decoder"):
        tasks.tasks(replace(subject, texts=None))


@pytest.fixture
def small_index(lm_eval, monkeypatch):
    """The harness without its own fourteen thousand tasks, whose index takes seconds."""
    import lm_eval.tasks

    class Small(lm_eval.tasks.TaskManager):
        def __init__(self, include_path=None, include_defaults=False):
            super().__init__(include_path=include_path, include_defaults=False)

    monkeypatch.setattr(lm_eval.tasks, "TaskManager", Small)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of a user's tasks: one of choices with its data beside it, one without data."""
    root = tmp_path_factory.mktemp("own")
    rows = [
        {"q": f"What is {a} of {b}?", "choices": [f"a {a}", f"one {b}", "none"], "right": i % 3}
        for i, (a, b) in enumerate(zip("abcdefghijkl", "mnopqrstuvwx", strict=True))
    ]
    data = root / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    common = "output_type: multiple_choice\ntest_split: test\ndoc_to_target: right\n"
    common += 'doc_to_text: "{{q}}"\ndoc_to_choice: "{{choices}}"\n'
    common += "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
    (root / "mine.yaml").write_text(
        f"task: my-own\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {data}}}}}\n"
        + common
    )
    (root / "gone.yaml").write_text(f"task: gone\ndataset_path: {root / 'nowhere'}\n{common}")
    return root, rows


def test_tasks_of_a_folder_have_accuracy_chance_and_a_continuous_score(
    subject, folder, tmp_path, monkeypatch, small_index
):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    root, rows = folder
    settings = {"tasks": ["my-own"], "tasks_folder": str(root), "windows": 16}
    told = tasks.tasks(replace(subject, settings=settings))
    # The harness puts a space between question and answer, and no separator before.
    sums = [[plain_nats(subject, row["q"], f" {one}") for one in row["choices"]] for row in rows]
    rights = [row["right"] for row in rows]
    close(told["my_own_accuracy"], [np.argmax(s) == r for s, r in zip(sums, rights, strict=True)])
    close(
        told["my_own_margin_nats"],
        [s[r] - np.logaddexp.reduce(np.delete(s, r)) for s, r in zip(sums, rights, strict=True)],
    )
    bits = [
        -s[row["right"]] / np.log(2) / (1 + len(row["choices"][row["right"]]))
        for s, row in zip(sums, rows, strict=True)
    ]
    close(told["my_own_answer_bits_per_byte"], bits)
    assert told["my_own_chance"].value == pytest.approx(1 / 3)


def plain_nats(subject, given, told):
    ids = torch.tensor([encode(given + told)[1:]])
    with torch.no_grad():
        logits = subject.model(ids).logits[0, :-1].double().log_softmax(-1)
    places = torch.arange(len(told)) + len(given) - 1
    return float(logits[places, ids[0, 1:][places]].sum())


def test_a_task_that_is_not_there_or_has_no_data_is_one_sentence(folder, small_index):
    root = str(folder[0])
    for name, said in (
        ("my-on", "has no task 'my-on'; did you mean 'my-own'"),
        ("gone", "the data of 'gone' cannot be had .* Hugging Face hub, or from its cache"),
    ):
        with pytest.raises(UserError, match=rf"^evaluation\.tasks: .*{said}") as caught:
            _harness.named_tasks([name], root)
        assert "\n" not in str(caught.value)


def test_without_the_library_its_command_is_said_before_any_work(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "lm_eval"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(UserError, match=r"lm_eval.*pip install 'scalelab\[tasks\]'"):
        tasks.tasks(None)
