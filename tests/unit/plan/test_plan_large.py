"""Thousands of runs: nothing that is done for each run or job goes through all of them."""

import ast
from pathlib import Path
from typing import Any

from scalelab.config import parse
from scalelab.plan import runs as planning
from scalelab.plan.runs import build

COMMON = Path(__file__).resolve().parents[3] / "workflow" / "rules" / "common.smk"
WIDTHS, TOKENS, SEEDS, RATES = 20, 10, 2, 5


def test_a_plan_of_2000_runs_reads_its_text_once(monkeypatch):
    """Versions and files of a corpus take a while to read, and hashes of whole plans grow."""
    calls: dict[str, int] = {}

    def counted(name: str) -> None:
        function = getattr(planning, name)

        def call(value: Any) -> Any:
            calls[name] = calls.get(name, 0) + 1
            return function(value)

        monkeypatch.setattr(planning, name, call)

    counted("fingerprint")
    counted("run_id")
    plan = build(
        parse(
            {
                "study": "large",
                "corpus": {"packages": ["stdlib"], "tokenizer": "bytes"},
                "model": {"depth": 1, "context": 16},
                "ladder": {"widths": [8 + 4 * rank for rank in range(WIDTHS)], "seeds": SEEDS},
                "design": {"kind": "grid", "tokens": [10_000 * (k + 1) for k in range(TOKENS)]},
                "training": {"batch_tokens": 64},
                "axes": {"training.lr": [1e-3 * (k + 1) for k in range(RATES)]},
            }
        )
    )
    assert len(plan.runs) == WIDTHS * TOKENS * SEEDS * RATES == 2000
    assert len({run.id for run in plan.runs}) == len({run.label for run in plan.runs}) == 2000
    # One digest of a specification a run.
    assert calls == {"fingerprint": 1, "run_id": 2000}


def test_functions_of_a_job_do_not_go_through_all_runs():
    """Snakemake calls them for each job; where one goes through all runs, the graph of jobs takes
    a time that grows as n^2."""
    text = COMMON.read_text(encoding="utf-8")
    tree = ast.parse(text[text.index("\ndef spec(wildcards)") :])
    of_a_job = {
        node.name: node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.args.args[:1]
        if node.args.args[0].arg == "wildcards"
    }
    assert {"spec", "costliest_first", "after_training", "data_of_run"} <= set(of_a_job)
    whole = ("RUNS", "RUNS.values()", "RUNS.items()", "PLAN.runs", "RANK", "TRUNKS")
    for name, node in of_a_job.items():
        for inner in ast.walk(node):
            through = [inner.iter] if isinstance(inner, (ast.For, ast.comprehension)) else []
            if isinstance(inner, ast.Call) and ast.unparse(inner.func) != "len":
                through += inner.args
            assert not any(ast.unparse(item) in whole for item in through), name


def test_the_rank_of_a_run_is_looked_up():
    """As before: the costliest has the highest rank, 1 is the last, and evaluation is below all."""
    text = COMMON.read_text(encoding="utf-8")
    tree = ast.parse(text[text.index("\ndef spec(wildcards)") :])
    names = ("costliest_first", "after_training")
    chosen = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name in names]
    line = next(line for line in text.splitlines() if line.startswith("RANK = "))

    class Named:
        def __init__(self, name: str) -> None:
            self.id = self.run = name

    class Plan:
        runs = (Named("a"), Named("b"), Named("c"))

    known = {"PLAN": Plan, "RUNS": {run.id: run for run in Plan.runs}}
    exec(line, known)
    exec(compile(ast.Module(chosen, []), "common.smk", "exec"), known)
    assert [known["costliest_first"](run) for run in Plan.runs] == [3, 2, 1]
    assert [known["after_training"](run) for run in Plan.runs] == [0.75, 0.5, 0.25]
