"""Expected intervals against closed forms, against `laws.fit`, and designs that tell nothing."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scalelab import laws
from scalelab.advise import expected, prior, weaknesses
from scalelab.advise.design import design
from scalelab.advise.expected import interval_ends, refits
from scalelab.advise.prior import estimate_at
from scalelab.advise.quantities import parse
from scalelab.errors import UserError

POWER = {"law": "power", "params": {"A": 30.0, "alpha": 0.1}}


def factorial(sizes: int, ratios: int, span: float) -> list[dict[str, float]]:
    """An N by D/N factorial from N = 1e6 on."""
    return [
        {"N": n, "D": n * r}
        for n in np.geomspace(1e6, 1e6 * span, sizes)
        for r in np.geomspace(5, 80, ratios)
    ]


@pytest.mark.parametrize("engine", ["matrix", "simulate", "fit", "auto"])
def test_a_power_law_is_a_straight_line_in_logs_whose_interval_is_known(engine: str) -> None:
    n = np.geomspace(1e4, 1e7, 7)
    found = expected({"N": n}, POWER, 0.01, ["alpha"], engine=engine, repeats=400)["alpha"]
    logs = np.log(n) - np.log(n).mean()
    error = 0.01 / np.sqrt((logs**2).sum())
    chi = np.sqrt(stats.chi2.median(5) / 5)
    exact = stats.t.ppf(0.975, 5) * error * chi
    tolerance = 1e-9 if engine == "matrix" else 0.06
    assert found.half_width == pytest.approx(exact, rel=tolerance)
    assert found.rmse == pytest.approx(error, rel=0.1)
    if engine != "matrix":
        assert found.coverage == pytest.approx(0.95, abs=0.035)


def test_seeds_of_one_size_count_once_and_narrow_by_their_root() -> None:
    n = np.repeat(np.geomspace(1e4, 1e7, 7), 4)
    four = expected({"N": n}, POWER, 0.01, ["alpha"], engine="matrix")
    one = expected({"N": np.unique(n)}, POWER, 0.005, ["alpha"], engine="matrix")
    assert four.runs == 28 and four.points == 7 and four.dof == 5
    assert four["alpha"].half_width == pytest.approx(one["alpha"].half_width, rel=1e-9)


def test_the_engines_agree_where_intervals_are_short() -> None:
    names = ["alpha", "beta", "E", "A", "a", "loss@N=1e9,D=2e10", "N_opt@C=1e20"]
    wide = {
        engine: expected(factorial(6, 3, 1000), "chinchilla", 0.002, names, 60, engine=engine)
        for engine in ("matrix", "simulate")
    }
    for name in names:
        matrix, simulated = (wide[e][name] for e in ("matrix", "simulate"))
        assert matrix.value == simulated.value
        assert matrix.half_width == pytest.approx(simulated.half_width, rel=0.15), name


def test_the_intervals_are_those_that_a_fit_of_such_runs_prints() -> None:
    """The same losses through `laws.fit` itself, which searches from a grid of starts."""
    one, rows = prior("besiroglu2024"), factorial(6, 3, 1000)
    plan = design(rows, one)
    best = estimate_at(one, plan.x)
    asked = [parse(text, one.form) for text in ("alpha", "A", "E", "a", "loss@N=1e9,D=2e10")]
    for errors in np.random.default_rng(5).normal(0, 0.002, (2, len(plan.x))):
        table = pd.DataFrame(plan.x, columns=["N", "D"])
        table["loss_nats"] = np.exp(one.log_loss(plan.x) + errors)
        fit = laws.fit("chinchilla", table)
        (study,) = refits(best, (best.problem.y + errors)[None])
        assert study is not None
        theirs = [*(fit.intervals[name] for name in ("alpha", "A", "E"))]
        theirs += [fit.block["derived_intervals"]["N_opt_exponent"]]
        theirs += [fit.interval({"N": 1e9, "D": 2e10})[0]]
        assert interval_ends(study, asked, plan, 0.95) == pytest.approx(np.array(theirs), rel=1e-5)


def test_a_short_span_needs_the_fit_itself_and_auto_says_so() -> None:
    rows = factorial(5, 3, 30)
    found = expected(rows, "hoffmann2022", 0.01, ["E"], repeats=20)
    assert found.engine == "fit" and "that a fit prints" in found.describe()
    assert found["E"].open is not None and found["E"].half_width > 0.3
    sound = expected(factorial(6, 3, 1000), "besiroglu2024", 0.002, ["alpha"], repeats=20)
    assert sound.engine == "simulate"


def test_a_constant_ratio_tells_nothing_and_is_called_so() -> None:
    ladder = [{"N": n, "D": 20 * n} for n in np.geomspace(1e6, 1e9, 12)]
    found = expected(ladder, "chinchilla", 0.003, ["alpha", "N_opt@C=1e20"], repeats=5)
    assert all(np.isinf(one.half_width) and one.open == 1 for one in found.quantities.values())
    assert found.to_json()["quantities"]["alpha"]["half_width"] is None
    (said,) = weaknesses(ladder, "chinchilla")
    assert "D/N is the same (20)" in said and "cannot be told apart at all" in said


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (factorial(4, 3, 5), "N spans 5-fold, under tenfold"),
        (factorial(4, 3, 5), "cannot show that the loss has a floor"),
        (factorial(4, 3, 5), "alpha is expected to be"),
        (factorial(3, 3, 1000), "alpha will have an open interval: 3 sizes"),
        (factorial(2, 3, 1000), "needs at least 3"),
        (factorial(1, 3, 1000), "holds one value"),
        ([*factorial(6, 1, 1000)[:5], {"N": 1e6, "D": 8e7}], "1 degree of freedom"),
    ],
)
def test_a_weak_design_is_told_what_it_lacks(rows: list[dict[str, float]], words: str) -> None:
    assert any(words in text for text in weaknesses(rows, "besiroglu2024", 0.003))


def test_a_sound_design_has_no_weakness() -> None:
    rows = [{"N": n, "D": d} for n in np.geomspace(1e6, 1e9, 6) for d in np.geomspace(2e8, 2e10, 4)]
    assert weaknesses(rows, "besiroglu2024", 0.002) == []


def test_fewer_points_than_parameters_give_no_interval() -> None:
    rows = factorial(3, 3, 100)[:5]
    assert np.isinf(expected(rows, "chinchilla", 0.003, ["alpha"], engine="matrix")["alpha"].low)


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"rows": []}, "no runs"),
        ({"rows": [{"N": 1e6}]}, "column D is missing"),
        ({"rows": [{"N": 1e6, "D": -1.0}]}, "must be positive"),
        ({"rows": [{"N": "many", "D": 1.0}]}, "expected numbers"),
        ({"noise": 0.0}, "noise is 0"),
        ({"level": 1.0}, "level is 1"),
        ({"repeats": 0}, "repeats is 0"),
        ({"engine": "guess"}, "engine 'guess'"),
        ({"law": "broken_1"}, "no published law has this form"),
        ({"law": "hofmann2022"}, "did you mean"),
        ({"law": {"law": "chinchilla", "params": {"E": 1.0}}}, "missing from params"),
        ({"quantities": ["gamma"]}, "is none of the law chinchilla"),
        ({"quantities": ["loss@N=1e9"]}, "D is missing"),
        ({"quantities": ["loss@N=1e9,D=x"]}, "a positive number is expected"),
        ({"quantities": ["N_opt@N=3"]}, "expected N_opt@C=1e9"),
    ],
)
def test_bad_input_is_one_sentence(keywords: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        expected(**({"rows": factorial(4, 2, 100), "law": "chinchilla"} | keywords))


def test_numbers_with_suffixes_and_the_same_seed_give_the_same() -> None:
    text = ["loss@N=1B,D=20B"]
    rows = factorial(5, 2, 100)
    a, b = (expected(rows, "chinchilla", 0.003, text, 10, engine="simulate") for _ in range(2))
    assert a.to_json() == b.to_json()
    assert a[text[0]].value == pytest.approx(
        float(laws.predict(laws.published.get("besiroglu2024"), {"N": 1e9, "D": 2e10})[0])
    )
