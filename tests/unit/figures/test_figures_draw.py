"""Every registered figure draws on the usual study and on the edge cases, with the same bytes."""

import csv
import json
import subprocess
import sys

import pytest
from example_study import CASES, write_study
from matplotlib.text import Text
from scipy.stats import gmean

from scalelab.errors import UserError
from scalelab.figures import ALL, KINDS, draw, draw_study, kind, load_study, style
from scalelab.figures.law_panel import HEADER, draw_law, finish, split_band
from scalelab.figures.venues import VENUES


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


DESIGN_OF = {
    **{name: "isoflop" for name in ("isoflop", "contours", "approaches")},
    **{"heldout": "grid", "published": "grid", "axis": "sweep", "evaluation_sets": "sets"},
    **{
        "measures": "measures",
        "compression": "compression",
        "speed": "speed",
        "by_axis": "families",
    },
    **{"modalities": "modalities", "tasks": "tasks", "transfer": "transfer"},
    **{"optimum": "sweep", "tokens": "grid", "overtraining": "overtrain", "repeats": "repeats"},
}
"""A design that has what a kind needs."""


@pytest.mark.parametrize("name", ALL)
def test_same_input_gives_same_bytes(case, design, tmp_path, name):
    """One figure in every format, the others in the one that shows what differs most quickly."""
    study = case("three sizes") if name in KINDS else design(DESIGN_OF[name])
    formats = ("pdf", "svg", "png") if name == "scaling_law" else ("svg",)
    first = draw(name, study, tmp_path / "a", formats=formats)
    second = draw(name, study, tmp_path / "b", formats=formats)
    assert [path.suffix for path in first] == [*(f".{one}" for one in formats), ".csv"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(
        path.name for path in first
    ), "temporary files were left"


@pytest.mark.parametrize("name", ["scaling_law", "loss_vs_tokens"])
def test_pdf_has_truetype_fonts_and_no_date(case, tmp_path, name):
    """Case P01: publishers refuse Type 3."""
    pdf = draw(name, case("usual"), tmp_path, formats=("pdf",))[0].read_bytes()
    assert b"/Type3" not in pdf
    assert b"/CIDFontType2" in pdf or b"/TrueType" in pdf
    assert b"CreationDate" not in pdf


EDGES = [
    *((name, "scaling_law") for name in CASES if name != "usual"),
    *((name, "loss_vs_tokens") for name in ("three sizes", "three failed", "large models")),
    *((name, "loss_vs_flops") for name in ("one size diverged", "narrow range")),
    *((name, "cost") for name in ("three sizes", "two thread counts")),
    *((name, "scaling_law_conventions") for name in ("three fits", "no extrapolation")),
]


@pytest.mark.parametrize(("name", "figure"), EDGES)
def test_edge_cases_draw_and_have_their_numbers(case, tmp_path, name, figure):
    svg, table = draw(figure, case(name), tmp_path, formats=("svg",))
    assert svg.read_bytes().rstrip().endswith(b"</svg>")
    good = [run for run in load_study(case(name) / "runs.csv", None).runs if run.ok]
    shown = {row["run"] for row in rows_of(table) if row["what"] in ("run", "held-out")}
    assert shown == {run.id for run in good}


@pytest.mark.parametrize("name", VENUES)
def test_widths_and_type_are_those_of_the_venue(case, name):
    study = load_study(case("usual") / "runs.csv", case("usual") / "laws.json")
    for width in ("single", "double"):
        with style.context(name):
            figure = kind("scaling_law").build(study, width).figure
        assert figure.get_size_inches()[0] == pytest.approx(VENUES[name].width(width))
        texts = [text for text in figure.findobj(Text) if text.get_text()]
        assert min(text.get_fontsize() for text in texts) >= VENUES[name].small


@pytest.mark.parametrize(
    ("name", "width"), [*((name, "single") for name in CASES), ("usual", "double")]
)
def test_legend_covers_no_line_and_stays_inside(case, name, width):
    study = load_study(case(name) / "runs.csv", case(name) / "laws.json")
    with style.context():
        figure = style.new_figure(width, 3.6)
        axes = figure.subplots()
        panel = draw_law(axes, study, study.fits[0])
        finish(panel)
        figure.draw_without_rendering()
        box, frame = axes.get_legend().get_window_extent(), axes.get_window_extent()
        assert not style.covered(axes, box, [line for line in panel.lines if len(line)])
    assert frame.x0 <= box.x0 and box.x1 <= frame.x1 + 1
    assert frame.y0 <= box.y0 and box.y1 <= frame.y1 + 1


def test_csv_holds_each_run_and_the_extrapolation(case, tmp_path):
    study = case("usual")
    rows = rows_of(draw("scaling_law", study, tmp_path, formats=())[0])
    runs = {row["id"]: row for row in rows_of(study / "runs.csv")}
    shown = {row["run"]: row for row in rows if row["what"] == "run"}
    assert shown.keys() == runs.keys()
    for name, row in shown.items():
        assert float(row["loss"]) == float(runs[name]["loss_nats"])
        expected = 100 * (float(row["loss"]) / float(row["predicted"]) - 1)
        assert float(row["residual_percent"]) == pytest.approx(expected)
    law = json.loads((study / "laws.json").read_text())["fits"][0]
    ahead = [row for row in rows if row["what"] == "extrapolation"]
    assert [float(row["predicted"]) for row in ahead] == [
        item["predicted_nats"] for item in law["extrapolation"]
    ]
    assert set(rows[0]) == set(HEADER)


def test_band_is_split_at_the_largest_size_without_a_gap(case):
    fit = json.loads((case("usual") / "laws.json").read_text())["fits"][0]
    inside, beyond = split_band(fit)
    largest = max(point["N"] for point in fit["points"])
    assert inside.x[-1] == beyond.x[0] == largest
    assert inside.predicted[-1] == beyond.predicted[0]
    assert inside.predicted[-1] == pytest.approx(fit["points"][-1]["predicted_nats"], rel=1e-4)
    assert beyond.x[-1] == pytest.approx(10 * largest)


def test_failed_run_is_in_the_csv_with_its_reason_and_not_as_a_point(case, tmp_path):
    study = case("one size diverged")
    rows = rows_of(draw("scaling_law", study, tmp_path, formats=())[0])
    out = [row for row in rows if row["what"] == "excluded"]
    assert [row["note"] for row in out] == ["status diverged"]
    assert out[0]["run"] not in [row["run"] for row in rows if row["what"] == "run"]


def test_a_diverged_curve_does_not_set_the_scale(case):
    study = load_study(
        case("one size diverged") / "runs.csv", case("one size diverged") / "laws.json"
    )
    with style.context():
        drawing = kind("loss_vs_tokens").build(study, "single")
    good = {run.id for run in study.runs if run.ok}
    top = max(row[6] for row in drawing.rows if row[1] in good)
    worst = max(row[6] for row in drawing.rows)
    assert worst > 3 * top, "the CSV has the whole curve"
    assert drawing.figure.axes[0].get_ylim()[1] < 2 * top


def test_a_study_without_a_fit_shows_its_points(tmp_path):
    study = write_study(tmp_path, lines=8)
    laws = {"study": "example", "fits": [], "provenance": {}}
    (study / "laws.json").write_text(json.dumps(laws))
    table = draw("scaling_law", study, tmp_path / "out", formats=("png",))[-1]
    assert {row["what"] for row in rows_of(table)} == {"run"}
    with pytest.raises(UserError, match="no fit"):
        draw("scaling_law_conventions", study, tmp_path / "out")


def test_a_fit_in_bits_and_without_interval_ends_draws(case, tmp_path):
    study = load_study(case("usual") / "runs.csv", case("usual") / "laws.json")
    fit = study.laws["fits"][0]
    bits = json.loads(json.dumps(fit).replace("predicted_nats", "predicted_bits_per_byte"))
    bits |= {"y": "bits_per_byte", "intervals": {"E": [None, None]}, "extrapolation": []}
    for row in bits["band"]:
        row |= {"low": None, "high": None}
    for point in bits["points"]:
        values = [run.number("bits_per_byte") for run in study.runs_of(point)]
        point["predicted_bits_per_byte"] = float(gmean(values))
    changed = type(study)(study.name, study.runs, {"fits": [bits]}, study.runs_root)
    rows = rows_of(draw_study("scaling_law", changed, tmp_path, formats=("pdf",))[-1])
    losses = [float(row["loss"]) for row in rows if row["what"] == "run"]
    assert sorted(losses) == sorted(run.number("bits_per_byte") for run in study.runs)


def test_user_settings_of_matplotlib_do_not_change_a_figure(case, tmp_path):
    import matplotlib

    plain = draw("scaling_law", case("usual"), tmp_path / "a", formats=("svg",))[0].read_bytes()
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 20, "axes.grid": True}):
        other = draw("scaling_law", case("usual"), tmp_path / "b", formats=("svg",))[0]
    assert other.read_bytes() == plain


COMMAND = [sys.executable, "-m", "scalelab", "figures", "--only", "scaling_law"]


def test_formats_written_side_by_side_are_those_written_one_by_one(case, tmp_path):
    """In a process of its own: pytest's workers have threads, beside which nothing is forked."""
    study = case("three sizes")
    words = [*COMMAND, "--study", str(study), "--out", str(tmp_path / "together")]
    subprocess.run(words, check=True, capture_output=True)
    for end in ("pdf", "svg", "png"):
        path, _ = draw("scaling_law", study, tmp_path / "alone", formats=(end,))
        assert path.read_bytes() == (tmp_path / "together" / path.name).read_bytes()


def test_a_format_that_cannot_be_written_is_told_once(case, tmp_path):
    (tmp_path / "scaling_law.pdf").mkdir()
    words = [*COMMAND, "--study", str(case("three sizes")), "--out", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stderr.count("scaling_law.pdf'") == 1


def test_importing_figures_does_not_import_matplotlib_or_torch():
    code = (
        "import sys, scalelab.figures.command, scalelab.report; "
        "print([n for n in ('matplotlib', 'torch', 'transformers') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_figures_that_need_no_law_do_not_wait_for_the_laws():
    code = "import sys, scalelab.figures.command; print('scalelab.laws' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
