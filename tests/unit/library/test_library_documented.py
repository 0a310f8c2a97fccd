"""Every command of docs/runs.md does what the page says, on files of the names it uses."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from results_folder import Results

from scalelab.files import write_json
from scalelab.laws import read_runs

Call = Callable[..., tuple[int, str, str]]
PAGE = Path(__file__).parents[3] / "docs" / "runs.md"
PROJECT = "Name,State,num_params,tokens,eval/loss\na,finished,100000,2000000,5.1\nb,crashed,1,1,9\n"
LOG = "run,step,non_embedding_params,val_loss\nsmall,1000,1M,4.2\nsmall,2000,1M,3.9\n"


def commands() -> list[list[str]]:
    """The words of each command in the page's blocks of shell."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [shlex.split(line)[1:] for block in blocks for line in block.splitlines()]


def test_the_commands_of_the_page(
    scalelab: Call, results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for study, widths in (("micro", (8, 16, 24)), ("widen", (16, 24, 48))):
        results.plan(study, {f"d{width}-s1": results.spec(width) for width in widths})
    words = ["--plan", "results/micro/plan.json", "--runs-root", "results/runs"]
    words += ["--folder", "results/micro", "--out", "results/micro/tracking.json"]
    assert scalelab("track", *words)[0] == 0
    (tmp_path / "project.csv").write_text(PROJECT)
    (tmp_path / "log.csv").write_text(LOG)
    log = [{"step": 2, "eval_loss": 4.0, "num_input_tokens_seen": 128}]
    state = {"global_step": 2, "max_steps": 2, "log_history": log}
    write_json(tmp_path / "gpt2-small" / "trainer_state.json", state)
    checkpoint = next((results.root / "runs").glob("*/checkpoint/model.safetensors"))
    (tmp_path / "gpt2-small" / "model.safetensors").write_bytes(checkpoint.read_bytes())

    called = commands()
    assert {words[0] for words in called} == {"runs", "import"}
    for words in called:
        code, out, err = scalelab(*words)
        assert code == 0, f"{words}: {err}"
        assert out
        if words[0] == "import":
            assert "ok" in set(read_runs("runs.csv")["status"])


def test_the_page_names_every_format() -> None:
    from scalelab.library import importers

    text = PAGE.read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in importers.importers())
