"""Tasks through lm-evaluation-harness: scalelab's own, made from text, and those that it has.

The harness asks the model and gathers the answers; what is a mean over items gets the standard
error of one. Own tasks are asked after the separator, where documents begin. lm-eval comes with the
extra `tasks`.
"""

import contextlib
import io
import logging
import math
import re
import string
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from scalelab.errors import UserError, first_line
from scalelab.evaluation.measures import Estimate, mean_of
from scalelab.evaluation.measures._items import SPARE, Count, Item

Scores = dict[str, float]
Answers = Sequence[Any]
"""Of each request its log-likelihood in nats and whether it is the likeliest; then what is written,
where an item asks for that."""
ARTICLES = re.compile(r"\b(a|an|the)\b")
LONGEST = 10**9
NAMES = {"acc": "accuracy"}
ODD = re.compile(r"[^A-Za-z0-9_]+")


def library() -> Any:
    """lm_eval; `UserError` with the command that installs it."""
    try:
        import lm_eval
    except ImportError as error:
        raise UserError(
            f"evaluation.measures: tasks needs the package {error.name}, which cannot be imported; "
            "install it with `pip install 'scalelab[tasks]'`"
        ) from None
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return lm_eval


def model_of(model: Any, folder: Any, context: int, separator: int) -> Any:
    """The harness's model of an opened checkpoint, with the tokenizer beside it."""
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer

    # The harness is told the context; the tokenizer would warn of each document that is longer.
    tokenizer = AutoTokenizer.from_pretrained(
        str(folder), local_files_only=True, model_max_length=LONGEST
    )
    return HFLM(
        pretrained=model,
        tokenizer=tokenizer,
        backend="causal",
        max_length=context,
        batch_size=16,
        add_bos_token=False,
        prefix_token_id=separator,
    )


def counter(lm: Any) -> Count:
    """How many tokens the harness takes a text for."""
    return lambda text: len(lm.tok_encode(text))


def own_task(
    name: str, items: Sequence[Item], score: Callable[[Item, Answers], Scores], start: str
) -> Any:
    """A task of the harness from items; each beginning follows `start`, the separator's text."""
    from lm_eval.api.instance import Instance
    from lm_eval.api.task import Task

    class Own(Task):
        """Items in the order given, one document each."""

        VERSION = 1
        OUTPUT_TYPE = "loglikelihood"

        def download(self, *_: Any, **__: Any) -> None:
            """Nothing: the items are there."""

        def has_training_docs(self) -> bool:
            return False

        def has_validation_docs(self) -> bool:
            return False

        def has_test_docs(self) -> bool:
            return True

        def test_docs(self) -> list[dict[str, int]]:
            return [{"item": place} for place in range(len(items))]

        def doc_to_text(self, doc: Mapping[str, int]) -> str:
            return items[doc["item"]].requests[0][0]

        def doc_to_target(self, doc: Mapping[str, int]) -> str:
            return items[doc["item"]].requests[0][1]

        def construct_requests(self, doc: Mapping[str, int], ctx: str, **more: Any) -> list[Any]:
            item, about = items[doc["item"]], {"doc": doc, "metadata": more["metadata"]}
            asked: list[tuple[str, tuple[Any, ...]]] = [
                ("loglikelihood", (start + given, told)) for given, told in item.requests
            ]
            if item.answer:
                how = {
                    "until": [".", "\n\n"],
                    "max_gen_toks": item.tokens + SPARE // 2,
                    "do_sample": False,
                }
                asked.append(("generate_until", (start + item.requests[0][0], how)))
            return [
                Instance(request_type=kind, arguments=arguments, idx=place, **about)
                for place, (kind, arguments) in enumerate(asked)
            ]

        def process_results(self, doc: Mapping[str, int], results: Answers) -> Scores:
            return score(items[doc["item"]], results)

        def aggregation(self) -> dict[str, Any]:
            return dict.fromkeys(self.higher_is_better(), np.mean)

        def higher_is_better(self) -> dict[str, bool]:
            answers: list[Any] = [(0.0, False)] * len(items[0].requests)
            return dict.fromkeys(score(items[0], [*answers, ""]), True)

    task = Own()
    task.set_config("task", name)
    task.set_config("num_fewshot", 0)
    return task


def named_tasks(names: Sequence[str], folder: str | None) -> dict[str, Any]:
    """Tasks, and those of groups, that the harness or a folder of its YAML files has.

    Raises:
        UserError: there is none of that name, or its data cannot be had.
    """
    import difflib

    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=folder)
    found: dict[str, Any] = {}
    for name in names:
        if name not in manager.all_tasks:
            near = difflib.get_close_matches(name, manager.all_tasks, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UserError(f"evaluation.tasks: lm-evaluation-harness has no task {name!r}{hint}")
        try:
            with quiet():
                found |= manager.load([name])["tasks"]
        except Exception as error:  # of datasets, the hub's client or the network: any kind
            raise UserError(
                f"evaluation.tasks: the data of {name!r} cannot be had ({first_line(error)}); they "
                "come from the Hugging Face hub, or from its cache on this machine"
            ) from None
    return found


def ask(lm: Any, tasks: Sequence[Any]) -> Any:
    """What the harness says of tasks, with every sample; random states are as they were."""
    import random

    import torch
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    before, numbers = random.getstate(), np.random.get_state()
    try:
        with quiet(), torch.random.fork_rng(enabled=True):
            return simple_evaluate(
                model=lm,
                tasks=list(tasks),
                task_manager=TaskManager(include_defaults=False),
                bootstrap_iters=0,
                log_samples=True,
            )
    finally:
        random.setstate(before)
        np.random.set_state(numbers)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without bars of progress, which go to the error stream and cannot be told not to."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield


def estimates(name: str, told: Any) -> dict[str, Estimate]:
    """Every number that the harness has for a task; a mean over items has its standard error.

    Of choices also how likely the right one is: accuracy's chance, the logarithm of its odds
    against the others together (margin, nats) and its bits per byte (Bhagia et al. 2024,
    arXiv:2412.04403).
    """
    samples = told["samples"][name]
    found: dict[str, Estimate] = {}
    for key, value in told["results"][name].items():
        metric, comma, way = key.partition(",")
        if not comma or metric.endswith("_stderr") or not _is_number(value):
            continue
        values = [one.get(metric) for one in samples if one["filter"] == way]
        column = "_".join([NAMES.get(metric, metric), *([way] if way != "none" else [])])
        found[column] = _mean_or_number(values, float(value))
    found |= _of_choices(samples, told["configs"][name].get("output_type"))
    head = ODD.sub("_", name).strip("_")
    return {f"{head}_{ODD.sub('_', column)}": one for column, one in found.items()}


def _mean_or_number(values: Sequence[Any], value: float) -> Estimate:
    if values and all(_is_number(one) for one in values):
        numbers = np.array(values, dtype=float)
        if math.isclose(numbers.mean(), value, rel_tol=1e-9, abs_tol=1e-12):
            return mean_of(numbers)
    return Estimate(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and math.isfinite(value)


def _of_choices(samples: Sequence[Mapping[str, Any]], kind: str | None) -> dict[str, Estimate]:
    """Of log-likelihoods of the choices: chance, margin, bits per byte of the right one."""
    chances, margins, bits = [], [], []
    for one in samples:
        right = one["target"]
        answers, asked = one["filtered_resps"], one["arguments"]
        if kind == "loglikelihood":
            answers, right = answers[:1], 0
        elif kind != "multiple_choice" or not isinstance(right, int):
            return {}
        elif "acc_mutual_info" in one:  # which asks each choice once more, by itself
            answers = answers[: len(answers) // 2]
        nats = np.array([float(answer[0]) for answer in answers])
        others = np.delete(nats, right)
        if len(others):
            chances.append(1 / len(nats))
            margins.append(nats[right] - np.logaddexp.reduce(others))
        size = len(asked[right][1].encode())
        bits.append(-nats[right] / (math.log(2) * max(1, size)))
    found = {"answer_bits_per_byte": mean_of(np.array(bits))} if bits else {}
    if margins:
        found["margin_nats"] = mean_of(np.array(margins))
        found["chance"] = Estimate(float(np.mean(chances)))
    return found


def words_of(text: str) -> list[str]:
    """Words as SQuAD compares them: in lower case, without signs and articles (Rajpurkar et al.
    2016, section 6.1)."""
    plain = "".join(one for one in text.lower() if one not in string.punctuation)
    return ARTICLES.sub(" ", plain).split()


def overlap(written: str, answer: str) -> float:
    """F1 of the words of an answer (Rajpurkar et al. 2016, section 6.1)."""
    one, two = Counter(words_of(written)), Counter(words_of(answer))
    common = sum((one & two).values())
    return 2 * common / (sum(one.values()) + sum(two.values())) if common else 0.0
