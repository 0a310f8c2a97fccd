"""Tables of runs of any kind: a law whose numbers are finite and lie in their intervals, or one
sentence."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fuzz import examples
from hypothesis import given
from hypothesis import strategies as st

from scalelab import laws
from scalelab.cli import main
from scalelab.laws import registry

COLUMNS = {"N": "N", "D": "D", "C": "C", "U": "U"}
# Where a table shows no break, the intervals of a law with one take some 15 seconds.
LAWS = sorted(name for name in registry.discover() if not name.startswith("broken"))
INTERVALS = ["auto", "profile", "robust", "bootstrap", "parametric"]
EXTREME = [1, 2, 1e-300, 1e-9, 5e-324, 1e9, 1e15, 1e30, 1e300, 1.7e308, 2**53]


def column(draw: st.DrawFn, rows: int) -> list[float]:
    """Sizes, say: spread evenly or not, within little or much, equal ones, extreme ones."""
    kind = draw(st.sampled_from(["ladder", "ladder", "few", "one", "any", "extreme"]))
    if kind == "extreme":
        return draw(st.lists(st.sampled_from(EXTREME), min_size=rows, max_size=rows))
    if kind == "any":
        number = st.floats(min_value=1e-3, max_value=1e25)
        return draw(st.lists(number, min_size=rows, max_size=rows))
    low = 10 ** draw(st.floats(-2, 14))
    span = 10 ** draw(st.floats(0.01, 8))
    values = [low * span ** (row / max(rows - 1, 1)) for row in range(rows)]
    if kind == "few":
        return [values[row % min(3, rows)] for row in range(rows)]
    return values[:1] * rows if kind == "one" else values


def losses(draw: st.DrawFn, sizes: list[float]) -> list[float]:
    """Of a law with noise, or no law at all."""
    rows = len(sizes)
    kind = draw(st.sampled_from(["law", "law", "law", "flat", "rising", "any", "extreme"]))
    if kind == "extreme":
        return draw(st.lists(st.sampled_from(EXTREME), min_size=rows, max_size=rows))
    if kind == "any":
        number = st.floats(min_value=1e-6, max_value=1e6)
        return draw(st.lists(number, min_size=rows, max_size=rows))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    noise = np.exp(draw(st.sampled_from([0, 1e-12, 1e-3, 0.1, 2])) * rng.standard_normal(rows))
    scale = 10 ** draw(st.floats(-6, 6))
    if kind == "flat":
        return [float(one) for one in scale * noise]
    alpha = draw(st.floats(0.01, 3)) * (-1 if kind == "rising" else 1)
    floor = draw(st.sampled_from([0, 0.5, 1.7, 100]))
    relative = np.asarray(sizes) / sizes[0]
    with np.errstate(over="ignore", under="ignore"):
        found = scale * (floor + np.clip(relative, 1e-30, 1e30) ** -alpha) * noise
    return [float(one) for one in found]


@st.composite
def tables(draw: st.DrawFn) -> str:
    """The text of a CSV of runs."""
    rows = draw(st.one_of(st.integers(0, 3), st.integers(4, 12), st.integers(13, 40)))
    values = {name: column(draw, rows) for name in COLUMNS}
    values["loss_nats"] = losses(draw, values["N"]) if rows else []
    lines = [
        ",".join(values),
        *(",".join(map(repr, row)) for row in zip(*values.values(), strict=True)),
    ]
    return "\n".join(lines) + "\n"


@examples(20)
@given(
    text=tables(),
    law=st.sampled_from(LAWS),
    intervals=st.sampled_from(INTERVALS),
    objective=st.sampled_from([[], ["--delta", "1e-3"], ["--objective", "lad"]]),
)
def test_any_table_is_fitted_or_refused(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    text: str,
    law: str,
    intervals: str,
    objective: list[str],
) -> None:
    runs, out = tmp_path / "runs.csv", tmp_path / "law.json"
    runs.write_text(text, encoding="utf-8")
    out.unlink(missing_ok=True)
    words = ["fit", str(runs), "--law", law, "--intervals", intervals, *objective]
    code = main([*words, "--resamples", "50", "--json", str(out)])
    said = capfd.readouterr()
    if code == 2:
        assert len(said.err.strip().splitlines()) == 1 and not out.exists(), said.err
        return
    assert code == 0, said.err
    block = json.loads(out.read_text(encoding="utf-8"), parse_constant=refuse)
    for name, value in block["params"].items():
        assert math.isfinite(value), name
        low, high = block["intervals"].get(name) or (None, None)
        assert low is None or low <= value * (1 + 1e-9), (name, low, value)
        assert high is None or high >= value * (1 - 1e-9), (name, value, high)


LADDER = "N,loss_nats\n1e5,5.2\n3e5,4.4\n1e6,{}\n3e6,3.2\n1e7,2.9\n"


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        ("5e-324", "row 3, column loss_nats: found 4.94066e-324, expected a number between 1e-100"),
        (
            "1e200",
            "row 3, column loss_nats: found 1e+200, expected a number between 1e-100 and",
        ),
        (
            "1e-20",
            "column loss_nats goes from 1e-20 (row 3) to 5.2 (row 1): expected losses",
        ),
    ],
)
def test_numbers_that_no_float_computes_with_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], loss: str, told: str
) -> None:
    (tmp_path / "runs.csv").write_text(LADDER.format(loss), encoding="utf-8")
    assert main(["fit", str(tmp_path / "runs.csv")]) == 2
    assert told in capsys.readouterr().err


def test_a_fit_that_falls_below_nought_predicts_nothing_there() -> None:
    """Errors as the square of the loss: a law of the upper ones is negative at the others."""
    losses = np.geomspace(0.04, 2, 11)
    runs = pd.DataFrame({"loss_nats": losses, "error": 0.2 * losses**2})
    block = laws.fit("downstream", runs, y="error").to_json()
    assert len(block["heldout_series"]) < 5
    json.dumps(block, allow_nan=False)


def refuse(constant: str) -> Any:
    """NaN and Infinity are no JSON."""
    raise AssertionError(constant)
