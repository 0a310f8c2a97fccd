"""The page in a browser: it renders, its controls work, nothing leaves it, everyone can use it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from opened import EVIL, Opened
from playwright.sync_api import Page

from scalelab.figures import load_study
from scalelab.laws import fit
from scalelab.laws.allocation.allocate import allocate
from scalelab.laws.fitting import restore

pytestmark = pytest.mark.slow
Visit = Callable[..., Opened]
Table = Callable[[Path], pd.DataFrame]
PLOTS = ("law-plot", "plan-plot", "cost-plot", "curves-plot")


def laws_of(study: Path) -> dict[str, Any]:
    return json.loads((study / "laws.json").read_text(encoding="utf-8"))


def shape(page: Page, plot: str = "law-plot") -> dict[str, Any]:
    """The layout that a plot has."""
    return page.evaluate(
        """(id) => { const { xaxis, yaxis } = document.getElementById(id)._fullLayout;
        return { x: xaxis.type, y: yaxis.type, title: xaxis.title.text }; }""",
        plot,
    )


def traces(page: Page, plot: str = "law-plot") -> dict[str, int]:
    """How many values each named trace has."""
    return page.evaluate(
        """(id) => Object.fromEntries(
        document.getElementById(id).data.map((trace) => [trace.name, trace.y.length]))""",
        plot,
    )


def violations(page: Page) -> list[str]:
    """What axe-core finds against WCAG 2.0 and 2.1, A and AA."""
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
    found = Axe().run(page, options={"runOnly": tags}).response["violations"]
    return [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]]


def test_every_plot_is_drawn_and_nothing_goes_wrong(seen: Opened) -> None:
    for plot in PLOTS:
        seen.page.locator(f"#{plot} svg.main-svg").first.wait_for()
        box = seen.page.locator(f"#{plot}").bounding_box()
        inside = seen.page.locator(f"#{plot} svg.main-svg").first.bounding_box()
        assert box and inside and inside["height"] >= 300 and inside["width"] <= box["width"]
    assert seen.page.locator("#no-plots").is_hidden()
    assert seen.page.locator(".still").first.is_hidden()
    assert seen.faults == []


@pytest.mark.parametrize("name", ["ladder", "grid"])
def test_the_page_is_below_five_megabytes(name: str, request: pytest.FixtureRequest) -> None:
    page = request.getfixturevalue(name) / "report.html"
    assert 1_500_000 < page.stat().st_size < 5_000_000


def test_text_from_data_runs_nowhere(seen: Opened, ladder: Path) -> None:
    labels = [run.label for run in load_study(ladder / "runs.csv", ladder / "laws.json").runs]
    assert EVIL in labels
    assert seen.page.evaluate("window.hacked === undefined")
    assert seen.page.locator("#runs tbody th", has_text="window.hacked").count() == 1
    assert seen.page.locator(".sample pre", has_text="window.hacked").count() == 1


def test_hovering_tells_the_run(seen: Opened, ladder: Path) -> None:
    point = laws_of(ladder)["fits"][0]["points"][5]
    seen.page.locator("#law-plot").scroll_into_view_if_needed()
    at = seen.page.evaluate(
        """([x, y]) => { const plot = document.getElementById("law-plot");
        const { xaxis, yaxis } = plot._fullLayout, box = plot.getBoundingClientRect();
        return [box.left + xaxis._offset + xaxis.d2p(x),
                box.top + yaxis._offset + yaxis.d2p(y)]; }""",
        [point["N"], point["loss_nats"]],
    )
    seen.page.mouse.move(at[0] - 30, at[1])
    seen.page.mouse.move(*at, steps=4)
    told = seen.page.locator("#law-plot .hovertext")
    told.wait_for()
    text = told.text_content() or ""
    assert point["runs"][0] in text and f"N = {point['N']:,.0f}" in text
    assert f"{point['loss_nats']:.4f}" in text
    seen.page.mouse.move(5, 5)


def test_axes_turn_logarithmic_and_back(seen: Opened) -> None:
    for control, key in (("#log-x", "x"), ("#log-y", "y")):
        assert shape(seen.page)[key] == "log"
        seen.page.locator(control).uncheck()
        assert shape(seen.page)[key] == "linear"
        seen.page.locator(control).check()
        assert shape(seen.page)[key] == "log"


def test_counting_and_law_can_be_changed(seen: Opened, ladder: Path) -> None:
    first, second = laws_of(ladder)["fits"]
    label = seen.page.locator("#law-plot")
    assert f"alpha = {first['params']['alpha']:.4g}" in (label.get_attribute("aria-label") or "")
    seen.page.locator("#count-choice").select_option(label=second["convention"])
    assert second["convention"] in shape(seen.page)["title"]
    assert f"alpha = {second['params']['alpha']:.4g}" in (label.get_attribute("aria-label") or "")
    rival = second["alternatives"][0]
    seen.page.locator("#law-choice").select_option(label=f"{rival['law']}, for comparison")
    told = label.get_attribute("aria-label") or ""
    assert f"alpha = {rival['params']['alpha']:.4g}" in told and "E =" not in told
    assert second["convention"] in shape(seen.page)["title"], "the counting stays"
    seen.page.locator("#law-choice").select_option(index=0)
    seen.page.locator("#count-choice").select_option(index=0)


def test_a_point_left_out_by_keyboard_is_not_in_the_fit(
    seen: Opened, ladder: Path, table: Table
) -> None:
    page, block = seen.page, laws_of(ladder)["fits"][0]
    page.locator("details summary").focus()
    page.keyboard.press("Enter")
    page.locator("#point-0").focus()
    page.keyboard.press("Space")
    smallest = min(point["N"] for point in block["points"])
    rows = table(ladder)
    part = fit("power_offset", rows[rows["N"] > smallest], intervals="profile")
    text = page.locator("#refit").text_content() or ""
    assert text.startswith("Without N = 10k: ") and "interval not recomputed" in text
    for name, value in part.params.items():
        now, before = re.findall(rf"{name} = (\S+) \(all points (\S+?)\)", text)[0]
        places = len(now.partition(".")[2])
        assert float(now) == pytest.approx(value, abs=0.51 * 10**-places)
        assert float(before) == pytest.approx(block["params"][name], abs=0.51 * 10**-places)
    assert traces(page)["left out"] == 1
    assert traces(page)["points of the fit"] == len(block["points"]) - 1
    assert "without the points left out" in traces(page)
    for place in range(1, 6):
        page.locator(f"#point-{place}").uncheck()
    assert "fewer than the constants" in (page.locator("#refit").text_content() or "")
    page.locator("#all-back").press("Enter")
    assert page.locator("#refit").text_content() == ""
    assert "left out" not in traces(page)
    page.locator("details summary").press("Enter")


def test_clicking_a_point_leaves_it_out(seen: Opened) -> None:
    seen.page.evaluate(
        """() => { const plot = document.getElementById("law-plot");
        const data = plot.data.find((trace) => trace.name === "points of the fit");
        plot.emit("plotly_click", { points: [{ data, pointIndex: 2 }] }); }"""
    )
    assert not seen.page.locator("#point-2").is_checked()
    assert (seen.page.locator("#refit").text_content() or "").startswith("Without N = ")
    seen.page.evaluate("document.getElementById('all-back').click()")


def test_the_planner_is_the_allocation_of_the_law(visit: Visit, grid: Path) -> None:
    opened = visit(grid)
    page, block = opened.page, laws_of(grid)["fits"][0]
    law = restore(block)
    assert law is not None
    most = max(6 * point["N"] * point["D"] for point in block["points"])
    for budget in (0.07 * most, 0.8 * most, 23 * most):
        page.locator("#budget-number").fill(f"{budget:.6e}")
        page.keyboard.press("Tab")
        used = 10 ** (round(np.log10(float(f"{budget:.6e}")) * 1000) / 1000)
        one = allocate(law, float(f"{budget:.6e}"))
        loss = page.locator("#plan-loss").text_content() or ""
        low, high = one.intervals["loss"]
        assert low is not None and high is not None
        shown = [float(text) for text in re.findall(r"\d+\.\d+", loss)]
        assert shown == pytest.approx([one.loss, low, high], abs=2e-3), used
        n = page.locator("#plan-n").text_content() or ""
        assert scaled(n.split()[0]) == pytest.approx(one.n, rel=6e-3)
        far = page.locator("#plan-beyond").text_content() or ""
        assert far.startswith("Extrapolated") == (budget > most)
    assert opened.faults == []
    page.locator("#budget").focus()
    before = page.locator("#plan-n").text_content()
    for _ in range(40):
        page.keyboard.press("ArrowLeft")
    assert page.locator("#plan-n").text_content() != before
    assert "FLOPs" in (page.locator("#budget").get_attribute("aria-valuetext") or "")


def scaled(text: str) -> float:
    """1.05M as a number."""
    units = {"k": 1e3, "M": 1e6, "B": 1e9}
    return float(text[:-1]) * units[text[-1]] if text[-1] in units else float(text)


def test_a_law_of_two_columns_is_drawn_along_each_and_refitted(
    visit: Visit, grid: Path, table: Table
) -> None:
    opened = visit(grid)
    page, block = opened.page, laws_of(grid)["fits"][0]
    for label in ("training tokens D", "training FLOPs 6 N D", "non-embedding parameters N"):
        page.locator("#axis-choice").select_option(label=label)
        assert shape(page)["title"] == label
        assert len(traces(page)) > 4
    page.evaluate("document.getElementById('point-3').click()")
    point, rows = block["points"][3], table(grid)
    kept = rows[(rows["N"] != point["N"]) | (rows["D"] != point["D"])]
    part = fit("chinchilla", kept, intervals="profile")
    text = page.locator("#refit").text_content() or ""
    for name, value in part.params.items():
        now = re.findall(rf"{name} = (\S+) \(all points", text)[0]
        assert float(now) == pytest.approx(value, abs=0.51 * 10 ** -len(now.partition(".")[2]))
    assert opened.faults == []
    assert violations(page) == []


def test_runs_are_sorted_and_filtered_by_keyboard(seen: Opened, ladder: Path) -> None:
    page = seen.page
    heading = page.locator("#runs thead th", has_text="Loss").first

    def losses() -> list[float]:
        cells = page.locator("#runs tbody tr:visible td:nth-child(7)").all_text_contents()
        return [float(text) for text in cells if text]

    heading.locator("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert losses() == sorted(losses()) and len(losses()) == 10
    assert page.locator("#runs tbody tr td:nth-child(7)").last.text_content() == ""
    heading.locator("button").press("Space")
    assert heading.get_attribute("aria-sort") == "descending"
    assert losses() == sorted(losses(), reverse=True)
    assert page.locator("#runs tbody tr td:nth-child(7)").last.text_content() == ""
    assert page.locator("#runs th[aria-sort]").count() == 1
    page.locator("#filter").fill("diverged")
    assert page.locator("#runs tbody tr:visible").count() == 1
    assert page.locator("#filtered").text_content() == "1 of 11 runs"
    page.locator("#filter").fill("")
    assert page.locator("#runs tbody tr:visible").count() == 11


def test_links_lead_to_what_is_there(seen: Opened, ladder: Path) -> None:
    links = [one.get_attribute("href") or "" for one in seen.page.locator("a").all()]
    files = [link for link in links if not link.startswith("#")]
    assert len(files) == 3, "three runs have a log, none a record"
    for link in files:
        assert (ladder / link).resolve().is_file()
    for link in set(links) - set(files):
        assert seen.page.locator(link).count() == 1
    runs = load_study(ladder / "runs.csv", ladder / "laws.json").runs
    assert seen.page.locator("#runs", has_text=f"example-{runs[0].id} (offline)").count() == 1


def test_costs_and_curves_can_be_changed(seen: Opened) -> None:
    page = seen.page
    assert "time" in (page.locator("#cost-plot").get_attribute("aria-label") or "")
    page.locator("#cost-choice").select_option(label="peak memory")
    assert "peak memory" in (page.locator("#cost-plot").get_attribute("aria-label") or "")
    page.locator("#cost-log").uncheck()
    assert shape(page, "cost-plot")["x"] == "linear"
    page.locator("#cost-log").check()
    page.locator("#curves-choice").select_option(label="training FLOPs")
    assert shape(page, "curves-plot")["title"] == "training FLOPs"
    page.locator("#curves-choice").select_option(index=0)


def test_every_control_is_reached_by_tab(seen: Opened) -> None:
    page = seen.page
    wanted = set(
        page.evaluate(
            """() => [...document.querySelectorAll("select, input, summary, button, a")]
            .filter((one) => one.checkVisibility())
            .map((one, place) => (one.dataset.mark = String(place)))"""
        )
    )
    assert len(wanted) > 25
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    page.locator("h1").click()
    reached = set()
    for _ in range(len(wanted) + 25):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.dataset.mark ?? null"))
    assert wanted - reached == set()


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (400, "light")])
def test_axe_finds_nothing(visit: Visit, ladder: Path, width: int, scheme: str) -> None:
    opened = visit(ladder, width, color_scheme=scheme)
    opened.page.locator("details summary").click()
    opened.page.locator("#point-1").uncheck()
    opened.page.locator("#budget").press("End")
    assert violations(opened.page) == []
    wide = opened.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0, "the page scrolls sideways"
    assert opened.faults == []


def test_each_plot_says_in_words_what_it_shows(seen: Opened) -> None:
    for plot in PLOTS:
        node = seen.page.locator(f"#{plot}")
        assert node.get_attribute("role") == "img"
        text = node.get_attribute("aria-label") or ""
        assert len(text) > 60 and "table" in text


def test_print_shows_the_still_figures(visit: Visit, ladder: Path) -> None:
    opened = visit(ladder)
    opened.page.emulate_media(media="print")
    assert opened.page.locator("figure.still").count() == 3
    for figure in opened.page.locator("figure.still").all():
        assert figure.is_visible()
    for hidden in ("#law-plot", "#plan-plot", "nav", "#filter", "#budget"):
        assert opened.page.locator(hidden).is_hidden()
    assert opened.page.locator("table", has_text="within the study").is_visible()
    assert len(opened.page.pdf()) > 50_000
    assert opened.faults == []


def test_without_scripts_the_page_is_whole(visit: Visit, ladder: Path) -> None:
    opened = visit(ladder, java_script_enabled=False)
    assert opened.page.locator("figure").first.is_visible()
    for hidden in ("#law-plot", "#budget", "#filter", "nav"):
        assert opened.page.locator(hidden).is_hidden()
    assert opened.page.locator("#runs tbody tr").count() == 11


def test_a_browser_that_cannot_unpack_shows_the_still_figures(visit: Visit, ladder: Path) -> None:
    opened = visit(ladder, before="delete window.DecompressionStream")
    assert opened.page.locator("#no-plots").is_visible()
    assert opened.page.locator("figure.still").first.is_visible()
    assert opened.page.locator("#law-plot").is_hidden()
    opened.page.locator("#filter").fill("diverged")
    assert opened.page.locator("#runs tbody tr:visible").count() == 1
    opened.page.locator("#budget").press("Home")
    assert (opened.page.locator("#plan-n").text_content() or "").startswith("10k")
    assert opened.faults == []
