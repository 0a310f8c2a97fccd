"""What one command leaves: everything that is promised, whole and consistent."""

import csv
import importlib.metadata
import json
import math
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from workflow_project import WIDTHS, Finished, Project

from scalelab.figures import KINDS

pytestmark = pytest.mark.slow
RESULTS = Path("results") / "micro"


def below(finished: Finished, path: str) -> Path:
    return finished.project.root / RESULTS / path


def test_the_table_holds_exactly_the_runs_of_the_plan(finished: Finished) -> None:
    rows = finished.project.rows()
    plan = finished.project.json("micro/plan.json")
    assert sorted(row["id"] for row in rows) == sorted(run["id"] for run in plan["runs"])
    assert [int(row["width"]) for row in rows] == WIDTHS
    for row in rows:
        assert row["status"] == "ok"
        assert float(row["perplexity"]) == pytest.approx(math.exp(float(row["loss_nats"])))
        assert 0 < float(row["loss_nats"]) < math.log(257), "worse than guessing"
        assert (finished.project.root / RESULTS / row["checkpoint"]).resolve().is_dir()


def test_the_law_is_fitted_to_every_run(finished: Finished) -> None:
    laws = finished.project.json("micro/laws.json")
    assert [fit["x"] for fit in laws["fits"]] == ["N", "N_total"]
    for fit in laws["fits"]:
        used = [run for point in fit["points"] for run in point["runs"]]
        assert sorted(used) == sorted(row["label"] for row in finished.project.rows())
        assert fit["excluded"] == []


@pytest.mark.parametrize("kind", KINDS)
def test_each_figure_is_there_in_every_format(finished: Finished, kind: str) -> None:
    starts = {"pdf": b"%PDF", "png": b"\x89PNG", "svg": b"<?xml"}
    for suffix, start in starts.items():
        assert below(finished, f"figures/{kind}.{suffix}").read_bytes().startswith(start)
    table = list(csv.reader(below(finished, f"figures/{kind}.csv").read_text().splitlines()))
    assert len(table) > 1


def test_the_tables_are_there(finished: Finished) -> None:
    for name in ("runs.csv", "law.csv", "cost.csv"):
        assert len(below(finished, f"tables/{name}").read_text().splitlines()) > 1
    for name in ("runs.tex", "law.tex", "cost.tex", "numbers.tex"):
        assert "\\" in below(finished, f"tables/{name}").read_text()


def test_the_report_fetches_nothing(finished: Finished) -> None:
    """Case S14."""
    page = below(finished, "report.html").read_text(encoding="utf-8")
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    linked = re.findall(r"""(?:src|href|action|data)\s*=\s*["']?([^"'\s>]+)""", markup)
    assert linked, "no figure in the report"
    links = [link for link in linked if not link.startswith(("data:", "#"))]
    # Logs and records of the runs lie beside the page.
    assert all(below(finished, link).resolve().is_file() for link in links)
    assert len([link for link in links if link.endswith("/logs/train.log")]) == len(WIDTHS)
    outside = re.sub(r"data:[^\"']+", "", markup)
    assert not re.search(r"@import|url\(\s*[\"']?(?!#|data:)", outside)
    for row in finished.project.rows():
        assert row["label"] in page


def test_the_report_opens_in_a_browser(finished: Finished, chromium: Any) -> None:
    path = below(finished, "report.html")
    assert path.stat().st_size < 5_000_000
    faults: list[str] = []
    page = chromium.new_page()
    page.on("console", lambda said: faults.append(said.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_selector("html.live[data-ready]", state="attached", timeout=300_000)
    page.evaluate("document.getElementById('point-0').click()")
    refit = page.locator("#refit").text_content() or ""
    sizes = page.locator(".sample").count()
    page.close()
    assert faults == []
    assert "(all points " in refit, "the page does not reproduce laws.json"
    assert sizes == 3 * len(WIDTHS)


def test_every_run_is_in_the_tracker_and_none_needed_a_network(finished: Finished) -> None:
    result = finished.project.json("micro/tracking.json")
    assert result["mode"] == "offline"
    assert result["warnings"] == []
    assert sorted(run["id"] for run in result["runs"]) == sorted(
        row["id"] for row in finished.project.rows()
    )
    for run in result["runs"]:
        assert list(below(finished, f"wandb/{run['folder']}").glob("*.wandb"))


def test_the_fit_is_in_the_tracker_and_names_the_training_runs(finished: Finished) -> None:
    (row,) = finished.project.json("micro/tracking_fit.json")["runs"]
    (log,) = below(finished, f"wandb/{row['folder']}").glob("*.wandb")
    reader = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(log)]
    done = subprocess.run(reader, capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    (about,) = [item["run"] for item in records if item["type"] == "run"]
    assert (about["run_group"], about["job_type"]) == ("micro", "fit")
    assert set(about["config"]["update"]["training_runs"]) == {
        f"micro-{row['id']}" for row in finished.project.rows()
    }
    artifacts = [item["artifact"] for item in records if item["type"] == "artifact"]
    (whole,) = [item for item in artifacts if item["type"] == "scaling-law"]
    paths = {item["path"] for item in whole["manifest"]["contents"]}
    assert {"laws.json", "runs.csv", "tables/law.csv", "figures/scaling_law.pdf"} <= paths


def test_the_status_of_a_finished_study_is_that_all_is_done(finished: Finished) -> None:
    live = finished.project.json("micro/live.json")
    assert {run["id"] for run in live["runs"]} == {row["id"] for row in finished.project.rows()}
    assert live["cores"] == 2
    done = subprocess.run(
        [finished.project.python, "-m", "scalelab", "status"],
        cwd=finished.project.root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("study micro: 5 of 5 runs done (100% of the training FLOPs)")
    assert "see results/micro/report.html" in done.stdout
    assert list((finished.project.root / "results").rglob("progress.json")) == []


def test_transformers_opens_each_checkpoint_and_measures_the_same_loss(
    finished: Finished,
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    plan = finished.project.json("micro/plan.json")
    context, stride = plan["evaluation"]["context"], plan["evaluation"]["stride"]
    corpus = finished.project.root / "results" / "corpora" / plan["corpus_id"]
    manifest = json.loads((corpus / "manifest.json").read_text())
    text = np.fromfile(corpus / "test.bin", manifest["tokenizer"]["dtype"]).astype(np.int64)
    # The separator that opens the stream is given, not predicted.
    assert text[0] == manifest["tokenizer"]["separator_id"]
    for row in finished.project.rows():
        model = AutoModelForCausalLM.from_pretrained(below(finished, f"checkpoints/{row['label']}"))
        loss = mean_loss(torch, model.eval(), torch.from_numpy(text), context, stride)
        assert float(row["loss_nats"]) == pytest.approx(loss, abs=1e-4)


def mean_loss(torch: Any, model: Any, stream: Any, context: int, stride: int) -> float:
    """Mean loss after the first token: windows of `context`, `stride` new tokens in each."""
    ends = list(range(context, len(stream), stride))
    if ends[-1] != len(stream) - 1:
        ends.append(len(stream) - 1)
    new = torch.tensor([context, *np.diff(ends).tolist()])
    inputs = torch.stack([stream[end - context : end] for end in ends])
    targets = torch.stack([stream[end - context + 1 : end + 1] for end in ends])
    total = 0.0
    with torch.no_grad():
        for part in torch.arange(len(ends)).split(256):
            logits = model(inputs[part]).logits
            losses = torch.nn.functional.cross_entropy(
                logits.transpose(1, 2), targets[part], reduction="none"
            )
            scored = torch.arange(context) >= context - new[part][:, None]
            total += losses[scored].double().sum().item()
    return total / int(new.sum())


def test_nothing_half_written_is_left(finished: Finished) -> None:
    results = finished.project.root / "results"
    assert list(results.rglob("*.tmp")) == []
    assert list(results.glob("runs/*/state")) == []


def test_the_profile_of_the_project_is_in_force(finished: Finished) -> None:
    assert re.search(r"Using workflow specific profile .*profiles/default", finished.output)


def test_only_the_interpreter_that_runs_snakemake_is_used(finished: Finished) -> None:
    """Case S09: other programs of that name come first in PATH."""
    assert finished.strangers == []
    for row in finished.project.rows():
        made = finished.project.json(f"runs/{row['id']}/run.json")["provenance"]
        assert made["interpreter"] == finished.project.python
        assert made["versions"]["torch"] == importlib.metadata.version("torch")


def test_progress_says_which_run_how_far_and_how_fast(finished: Finished) -> None:
    for row in finished.project.rows():
        assert re.search(
            rf"N={int(row['N']):,} .*: ok, [\d,]+ steps in \d+ s, [\d,]+ tokens/s", finished.output
        )
    assert finished.output.rstrip().count("scalelab: done, see results/micro/report.html") == 1


def test_a_second_workflow_in_the_folder_is_refused_in_one_sentence(finished: Finished) -> None:
    assert finished.second.returncode == 2
    said = [line for line in finished.second.stdout.splitlines() if line.startswith("scalelab:")]
    assert said == ["scalelab: another snakemake is at work in this folder; wait for it or end it"]
    assert "Traceback" not in finished.second.stdout


def test_the_report_of_snakemake_needs_no_network_either(project: Project) -> None:
    """Case S14, the archive that Snakemake makes."""
    nowhere = "http://127.0.0.1:9"
    proxies = {name: nowhere for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
    done = project.snakemake("--report", "report.zip", env={**proxies, "no_proxy": ""})
    assert done.returncode == 0, done.stdout
    with zipfile.ZipFile(project.root / "report.zip") as archive:
        pages = "".join(
            archive.read(name).decode("utf-8", "replace")
            for name in archive.namelist()
            if name.endswith((".html", ".js"))
        )
    for words in ("Held-out loss against model size", "The results on one page"):
        assert words in pages, "a caption is missing"
