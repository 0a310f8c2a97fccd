"""The workflow's files: lint, format, shipped studies, and the digest that decides about reruns."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pretrained import write_checkpoints
from ruamel.yaml import YAML
from workflow_project import ROOT, Project

from scalelab import provenance
from scalelab.cli import main

pytestmark = pytest.mark.slow
STUDIES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "config").rglob("*.yaml"))
OPTIONAL = {"gcide": "pip install"}
STARTED = {f"config/{name}.yaml" for name in ("adaptive", "isoflop", "known-truth", "vocab")}
"""Studies whose jobs are counted as well: rounds, several D, a synthetic text, several corpora."""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project without results."""
    return Project.create(tmp_path_factory.mktemp("files") / "project")


def call(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )


def test_snakemake_finds_nothing_to_criticise(bare: Project) -> None:
    done = bare.snakemake("--lint", study=None)
    assert done.returncode == 0, done.stdout


def test_the_snakemake_files_are_formatted() -> None:
    done = call(ROOT, "snakefmt", "--check", "Snakefile", "workflow")
    assert done.returncode == 0, done.stdout


def test_every_rule_has_a_log_and_names_its_outputs() -> None:
    for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        for rule in path.read_text(encoding="utf-8").split("\nrule ")[1:]:
            assert "\n    log:" in rule, f"{path.name}: {rule.splitlines()[0]}"
            assert "\n    run:" not in rule, "`run:` starts Snakemake anew for each job"


def test_every_wildcard_is_bounded_and_only_rounds_are_a_checkpoint() -> None:
    """Cases S11 and S17: which files there are is known before the first job, but for the runs that
    an adaptive study chooses."""
    text = "\n".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    paths = re.findall(r'(?<!f)"(results/[^"\n]*)"', text)
    wildcards = {name for path in paths for name in re.findall(r"\{(\w+)\}", path)}
    wildcards |= {"measure"}  # beside the others in the name of a run's file
    assert wildcards == {"run", "corpus", "trunk", "steps", "set", "measure"}
    bounds = " ".join(re.findall(r"wildcard_constraints:\n((?: +.*\n)+?)(?=\n|    \w+:)", text))
    assert set(re.findall(r"(\w+)=", bounds)) == wildcards | {"number"}
    assert re.findall(r"^checkpoint (\w+):", text, re.M) == ["round"]


def test_the_threads_of_a_run_reach_its_job(bare: Project) -> None:
    """Case S10: one thread for small runs, which go side by side, and more for large ones."""
    large = "compute={large_from: 6000, large_threads: 4}"
    output = bare.complete("--dry-run", "--printshellcmds", "--cores", "4", "--config", large)
    jobs = [job for job in output.split("\nrule ") if job.startswith("train:")]
    found = {}
    for job in jobs:
        (width,) = re.findall(r'"width":(\d+)', job)
        (threads,) = re.findall(r" --threads (\d+) ", job)
        assert ("\n    threads: 4\n" in job) == (threads == "4"), "Snakemake counts the same"
        found[int(width)] = int(threads)
    assert found == {8: 1, 12: 1, 16: 1, 24: 4, 32: 4}


def test_the_processes_of_a_measure_reach_its_job_each_with_a_thread(bare: Project) -> None:
    asked = (
        "evaluation={measures: [calibration, generation]}",
        "compute={large_from: 6000, large_threads: 1, large_writers: 3}",
    )
    output = bare.complete("--dry-run", "--printshellcmds", "--cores", "4", "--config", *asked)
    jobs = [job for job in output.split("\nrule ") if job.startswith("measure:")]
    found = []
    for job in jobs:
        (name,) = re.findall(r"measures/([a-z]+)-", job.partition("output:")[2].partition("\n")[0])
        (threads,) = re.findall(r" --threads (\d+) ", job)
        assert f" --processes {threads} " in job
        found.append((name, int(threads)))
    assert (
        sorted(found)
        == [("calibration", 1)] * 5 + [("generation", 1)] * 3 + [("generation", 3)] * 2
    )


@pytest.mark.parametrize("study", STUDIES)
def test_every_shipped_study_can_be_planned_and_started(
    bare: Project, study: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = YAML(typ="safe").load((ROOT / study).read_text(encoding="utf-8"))
    source = content["corpus"].get("source")
    monkeypatch.chdir(bare.root)
    if study == "config/axes/transfer.yaml":
        write_checkpoints(bare.root)
    code = main(["plan", study, "--no-time"])
    planned, refused = capsys.readouterr()
    if code == 2 and source in OPTIONAL:
        assert OPTIONAL[source] in refused
        pytest.skip(f"the text of source {source} is not installed")
    assert code == 0, refused
    sizes = [
        int(words[2].replace(",", ""))
        for words in map(str.split, planned.splitlines())
        if len(words) >= 11 and len(words[0]) == 12
    ]
    assert sizes == sorted(sizes) and sizes
    if study not in STARTED:
        return
    jobs = bare.jobs(study=study)
    if "adaptive" in content:  # its first round says what is trained
        assert jobs["round"] >= 1 and "train" not in jobs
        return
    assert jobs["train"] == jobs["evaluate"] == len(sizes)
    corpora = {"config/vocab.yaml": 5}  # a tokenizer for each vocabulary
    assert jobs["corpus"] == corpora.get(study, 1)


def test_a_mixture_is_prepared_by_the_command_of_any_study(bare: Project) -> None:
    """With the code of each part's source among what its rule depends on."""
    parts = [
        {"name": "library", "weight": 2, "source": "files", "paths": ["text/*.py"]},
        {"name": "ours", "weight": 1, "source": "files", "paths": ["scalelab/plan/*.py"]},
    ]
    sizes = {"test_tokens": 4000, "tuning_tokens": 2000}
    mixed = {"source": "mixture", "paths": [], "mixture": parts, **sizes}
    bare.write("mixture.yaml", study="mixture", corpus=mixed)
    bare.complete("--until", "corpus", study="mixture.yaml")
    (manifest,) = (bare.root / "results/corpora").glob("*/manifest.json")
    told = json.loads(manifest.read_text(encoding="utf-8"))["text"]["parts"]
    assert told["library"]["bytes"] / told["ours"]["bytes"] == pytest.approx(2, rel=0.1)


def test_a_student_waits_for_its_teacher_and_is_shown_it(bare: Project) -> None:
    axes = {"training.distil_weight": [0, 1]}
    bare.write("distil.yaml", study="distil", axes=axes, ladder={"widths": [8, 16]}, fits=[])
    output = bare.complete("--dry-run", "--printshellcmds", study="distil.yaml")
    jobs = [job for job in output.split("\nrule ") if job.startswith("train:")]
    assert len(jobs) == 4
    students = [job for job in jobs if '"distil":' in job]
    assert len(students) == 2 and "results/runs/" not in jobs[0].split("output:")[0]
    for job in students:
        (teacher,) = set(re.findall(r'"teacher":"(\w+)"', job))
        assert f"results/runs/{teacher}/checkpoint" in job.split("output:")[0]
        assert f" --teacher results/runs/{teacher} " in job


def test_runs_and_trunks_are_shown_the_checkpoint_that_they_start_from(bare: Project) -> None:
    write_checkpoints(bare.root)
    output = bare.complete("--dry-run", "--printshellcmds", study="config/axes/transfer.yaml")
    jobs = [job for job in output.split("\nrule ") if job.startswith(("train:", "trunk:"))]
    begun = [job for job in jobs if '"init":' in job]
    assert len(begun) == len(jobs) / 2 > 16
    for job in jobs:
        width = re.findall(r'"width":(\d+)', job)[0]
        option = f" --init results/pretrained/checkpoints/d{width}-s1 "
        assert (option in job) == (job in begun), job


def test_the_default_study_is_the_quickstart(bare: Project) -> None:
    assert bare.jobs(study=None) == bare.jobs(study="config/quickstart.yaml")


@pytest.fixture(scope="module")
def remarked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with a remark in each module and another docstring wherever there may be one."""
    package = tmp_path_factory.mktemp("remarked") / "scalelab"
    shutil.copytree(ROOT / "scalelab", package, ignore=shutil.ignore_patterns("__pycache__"))
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        path.write_text(f"# A remark.\n{rephrased(text)}\n\n# Another.\n", encoding="utf-8")
    return package


@pytest.mark.parametrize("stage", provenance.CODE)
def test_only_a_change_of_code_changes_the_digest(
    stage: str, remarked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"family": "gpt2", "source": "docstrings", "measure": "induction"}
    layers = [entry.format(**names) for entry in provenance.CODE[stage]]
    before = provenance.code_digest(*layers)
    monkeypatch.setattr(provenance, "PACKAGE", remarked)
    digest = provenance.code_digest.__wrapped__
    assert digest(*layers) == before
    files = [path for path in provenance.code_files(*layers) if path.suffix == ".py"]
    assert files
    assert "config" not in {path.parent.name for path in files}, "settings reach rules as params"
    for path in files[:: max(len(files) // 6, 1)]:  # some of them, evenly apart
        text = path.read_text(encoding="utf-8")
        path.write_text(text + "\nADDED = 1\n", encoding="utf-8")
        assert digest(*layers) != before, path
        path.write_text(text, encoding="utf-8")


def rephrased(source: str) -> str:
    """The source with another docstring in each function, class and module."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            words = ast.Expr(ast.Constant("In other words."))
            node.body = [words, *node.body[1:]] if ast.get_docstring(node) else [words, *node.body]
    return ast.unparse(ast.fix_missing_locations(tree))
