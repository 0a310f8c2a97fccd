"""Causal models of transformers by name (`hf:`): counted, built, exported; or refused, and why."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from scalelab.errors import UserError
from scalelab.files import write_json
from scalelab.models import build, export, registry
from scalelab.models.families.hf import Named
from scalelab.plan import families
from scalelab.plan.families import Shape, count
from scalelab.plan.families import hf as planned

transformers = pytest.importorskip("transformers")


def shape_of(name: str) -> Shape:
    return Shape(f"hf:{name}", depth=2, width=16, heads=2, context=16, vocab=61)


@pytest.fixture(autouse=True, scope="module")
def offline() -> Iterator[None]:
    """One counting process for all, which does not ask the hub."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        planned._process.cache_clear()
        yield
    planned._process().kill()
    planned._process.cache_clear()


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What was counted is kept here, not for the user of the tests."""
    monkeypatch.setattr(planned, "cache_file", lambda name: tmp_path / name)
    return tmp_path / "counts.json"


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_counts_are_those_of_the_family_that_is_counted_by_hand(family: str) -> None:
    """Two countings of one architecture; inner widths are made alike."""
    named = count(shape_of(family))
    made = build(shape_of(family), seed=0)
    assert isinstance(made, Named)
    inner = getattr(made.inner.config, "intermediate_size", None) if family == "llama" else None
    ours = count(Shape(family, depth=2, width=16, heads=2, context=16, vocab=61, inner=inner))
    assert named == ours


@pytest.mark.parametrize("name", ["gpt_neox", "qwen3", "mamba"])
def test_a_model_is_causal_of_the_counted_size_and_comes_back_from_its_export(
    name: str, tmp_path: Path
) -> None:
    shape = shape_of(name)
    counts, model = count(shape), build(shape, seed=1)
    assert isinstance(model, Named)
    assert counts.n_total == model.inner.num_parameters() > counts.n > 0
    assert counts.matmul_flops >= 2 * shape.vocab * shape.width
    assert len(model.blocks) == shape.depth
    config, weights = export(model, shape)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    write_json(tmp_path / "config.json", config)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.randint(61, (3, 17), generator=torch.manual_seed(2))
    with torch.no_grad():
        expected = theirs(ids[:, :-1]).logits
        assert torch.allclose(model.predictions(ids[:, :-1])[0], expected, atol=1e-4)
        losses = model.losses(ids[:, :-1], ids[:, 1:])
        assert model(ids[:, :-1], ids[:, 1:]).item() == pytest.approx(losses.sum().item(), rel=1e-5)
    other = build(shape, seed=1).state_dict()
    assert all(torch.equal(value, other[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["gpt2", "biogpt"])
def test_a_class_whose_own_settings_have_dropout_has_none(name: str, tmp_path: Path) -> None:
    """Case T10: of a type, and of a folder that sets every kind of it to a half."""
    own = transformers.AutoConfig.for_model(name)
    kinds = [key for key in own.to_dict() if "drop" in key]
    assert any(getattr(own, key) for key in kinds), "the class has some by itself"
    transformers.AutoConfig.for_model(name, **dict.fromkeys(kinds, 0.5)).save_pretrained(tmp_path)
    ids = torch.randint(61, (2, 17), generator=torch.manual_seed(2))
    for family in (name, str(tmp_path)):
        model = build(shape_of(family), seed=0).train()
        first, second = (model(ids[:, :-1], ids[:, 1:]).item() for _ in range(2))
        assert first == second
        assert first == model.eval()(ids[:, :-1], ids[:, 1:]).item()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nothing", "found hf:nothing, expected hf: and a type of model of transformers"),
        ("bert", "found hf:bert, which sees the tokens after the one that it predicts"),
        ("bart", "has no list of 2 layers"),
        ("git", "has 85,[0-9,]+ weights however small its shape"),
        ("no/such-folder", "found hf:no/such-folder, expected hf: and a type of model"),
    ],
)
def test_what_cannot_be_a_family_is_refused_with_the_reason(name: str, told: str) -> None:
    with pytest.raises(UserError, match=f"^model.family: .*{told}") as caught:
        count(shape_of(name))
    assert "\n" not in str(caught.value)


def test_a_prefix_alone_is_no_family() -> None:
    for name in ("hf", "gpt9"):
        with pytest.raises(UserError, match=f"found {name!r}, expected one of .*hf:gpt_neox"):
            families.objective(name)
        with pytest.raises(UserError, match=f"found {name!r}, expected one of"):
            registry.get(name)


def test_a_folder_with_a_configuration_is_a_family(tmp_path: Path) -> None:
    """Its own choices stay; widths keep their ratio to the width."""
    config = transformers.LlamaConfig(
        hidden_size=64, intermediate_size=96, num_attention_heads=4, num_key_value_heads=2,
        num_hidden_layers=7, rms_norm_eps=1e-3, tie_word_embeddings=True,
    )  # fmt: skip
    config.save_pretrained(tmp_path / "mine")
    shape = shape_of(str(tmp_path / "mine"))
    counts, model = count(shape), build(shape, seed=0)
    assert isinstance(model, Named)
    found = model.inner.config
    assert (found.intermediate_size, found.num_key_value_heads) == (24, 1)
    assert (found.num_hidden_layers, found.rms_norm_eps) == (2, 1e-3)
    assert counts == count(Shape("llama", 2, 16, 2, 16, 61, inner=24, kv_heads=1, tied=True))


def test_a_folder_beside_a_study_is_told_by_its_content_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name without a slash may be a folder, and no type of model."""
    monkeypatch.chdir(tmp_path)
    keys = []
    for inner in (128, 256):
        transformers.GPT2Config(n_embd=64, n_inner=inner).save_pretrained("mine")
        keys.append(planned._key(shape_of("mine"), "mine"))
    assert keys[0] != keys[1]
    assert planned._key(shape_of("gpt2"), "gpt2") is not None
    assert planned._key(shape_of("owner/name"), "owner/name") is None


def test_counting_is_remembered_and_made_anew_for_another_configuration(
    memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    transformers.GPT2Config(n_embd=64, n_inner=128).save_pretrained(folder)
    shape = shape_of(str(folder))
    first = count(shape)
    assert len(json.loads(memory.read_text())) == 1
    asked: list[Shape] = []
    real = planned._asked
    monkeypatch.setattr(planned, "_asked", lambda shape: asked.append(shape) or real(shape))
    planned.counts.cache_clear()
    assert count(shape) == first
    assert not asked
    memory.write_text(json.dumps({"of": "another version"}))
    transformers.GPT2Config(n_embd=64, n_inner=256).save_pretrained(folder)
    planned.counts.cache_clear()
    assert count(shape).n > first.n
    assert len(asked) == 1


def test_planning_loads_no_torch() -> None:
    program = """
import sys
from scalelab.plan.families import Shape, count
assert count(Shape("hf:gpt_neox", 2, 16, 2, 16, 61)).n > 0
assert "torch" not in sys.modules and "transformers" not in sys.modules
"""
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
