"""Published constants: what they predict, and that no name or digit is lost."""

import numpy as np
import pytest

from scalelab import laws
from scalelab.errors import UserError
from scalelab.laws import published, registry

LARGE = {"N": 70e9, "D": 1.4e12}


@pytest.mark.parametrize("name", published.names())
def test_each_law_is_one_of_the_registry_and_predicts(name):
    ref = published.get(name)
    form = registry.get(ref.law)
    assert set(ref.params) == set(form.parameters)
    assert len(ref.columns) == len(form.columns)
    x = {"N": 1e9, "D": 2e10, "U": 1e10, "C": 1e20}
    found = laws.predict(ref.to_block(), {column: x[column] for column in ref.columns})
    assert 1.5 < found[0] < 6
    assert laws.predict(ref, {column: x[column] for column in ref.columns})[0] == found[0]
    assert "arXiv:" in ref.source and ref.convention


@pytest.mark.parametrize(
    "name,x,loss",
    [
        ("hoffmann2022", LARGE, 1.93665),
        ("hoffmann2022-unrounded", LARGE, 1.92085),
        ("kaplan2020-N", {"N": 1e9}, 8.8e4**0.076),
        ("kaplan2020-D", {"D": 5.4e12}, 10**0.095),
        ("kaplan2020-C", {"C": 8.64e19}, 3.1e8**0.05),
        ("kaplan2020-joint", {"N": 6.4e13, "D": 1.8e13}, 2**0.103),
        # One pass over unique tokens, fewer parameters than they call for: no decay.
        (
            "muennighoff2023",
            {"N": 1e8, "D": 1e11, "U": 1e11},
            1.869143 + 520.825 * 1e8**-0.3526596 + 1487.716 * 1e11**-0.3526596,
        ),
    ],
)
def test_predictions_are_those_of_the_formula(name, x, loss):
    assert laws.predict(published.get(name), x)[0] == pytest.approx(loss, abs=6e-6)


def test_logs_are_stored_as_natural_values():
    params = published.get("muennighoff2023").params
    assert params["A"] == pytest.approx(520.825, abs=5e-4)
    assert params["B"] == pytest.approx(1487.716, abs=5e-4)
    assert params["E"] == pytest.approx(1.86914, abs=5e-6)


def test_repeats_are_worth_less_than_fresh_tokens():
    """The worked example of the law: 15.4 repeats make (1 - 1/e) of fresh tokens' worth."""
    ref = published.get("muennighoff2023")
    n, unique = 1e7, 1e9
    repeated = laws.predict(ref, {"N": n, "D": unique * (1 + 15.387756), "U": unique})[0]
    worth = unique * (1 + 15.387756 * (1 - np.exp(-1)))
    fresh = laws.predict(ref, {"N": n, "D": worth, "U": worth})[0]
    assert repeated == pytest.approx(fresh, rel=1e-12)


def test_a_name_nearly_right_is_suggested():
    with pytest.raises(UserError, match="did you mean 'besiroglu2024'"):
        published.get("besiroglou2024")


def test_changing_a_block_changes_no_law():
    block = published.get("hoffmann2022").to_block()
    block["params"]["E"] = 0.0
    assert published.get("hoffmann2022").params["E"] == 1.69
    assert dict(published.get("hoffmann2022")) == published.get("hoffmann2022").to_block()
    with pytest.raises(AttributeError):
        published.get("hoffmann2022").name = "other"
