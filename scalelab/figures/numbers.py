"""Numbers as people read them: as many digits as their interval warrants, laws as mathematics."""

import math
import re
from collections.abc import Mapping
from typing import Any

from scalelab.evaluation.columns import measure_of, set_of
from scalelab.plan.objectives import CAUSAL, QUANTITIES

GREEK = ("alpha", "beta", "gamma", "delta", "kappa")
LOSS_UNITS = {"loss_nats": "nats per token", "bits_per_byte": "bits per byte"}


def decimals(width: float | None, value: float, digits: int = 2) -> int:
    """Decimal places that leave `digits` significant digits of a half-width (0 to 8).

    Without a usable width, four significant digits of the value itself.
    """
    scale, keep = (width, digits) if width and math.isfinite(width) and width > 0 else (value, 4)
    if not scale or not math.isfinite(scale):
        return 2
    return min(8, max(0, keep - 1 - math.floor(math.log10(abs(scale)))))


def bounds(fit: Mapping[str, Any], name: str) -> tuple[float | None, float | None]:
    """Lower and upper end of a parameter's interval; None where it has no finite end."""
    pair = (fit.get("intervals") or {}).get(name) or (None, None)
    low, high = (None if end is None or not math.isfinite(end) else float(end) for end in pair)
    return low, high


def estimate(value: float, low: float | None, high: float | None) -> tuple[str, str, str]:
    """Texts of a value and the ends of its interval, all with the same decimal places.

    A missing end is the text `?`: the data do not bound it.
    """
    ends = [abs(end - value) for end in (low, high) if end is not None]
    # Two digits of the narrower side: the wider side may be huge without the value being vague.
    places = decimals(min((end for end in ends if end > 0), default=None), value)
    if max(abs(value), *(abs(end) for end in (low, high) if end is not None), 0) >= 1e6:
        return tuple("?" if v is None else f"{v:.3g}" for v in (value, low, high))  # type: ignore
    return tuple("?" if v is None else f"{v:.{places}f}" for v in (value, low, high))  # type: ignore


def significant(value: float | None, digits: int = 2) -> str:
    """A number in plain digits, `digits` of them significant; `unknown` for None."""
    if value is None or not math.isfinite(value):
        return "unknown"
    places = decimals(abs(value), value, digits) if value else 1
    return f"{value:.{places}f}"


def with_interval(value: float, low: float | None, high: float | None) -> str:
    """`0.212 [0.205, 0.219]`; just the value when there is no interval at all."""
    texts = estimate(value, low, high)
    return texts[0] if low is None and high is None else f"{texts[0]} [{texts[1]}, {texts[2]}]"


def percent(level: float) -> str:
    """An interval's level as text: 0.95 is `95%`."""
    return f"{100 * level:g}%"


def count(value: float | None) -> str:
    """A whole number with thousands separated by commas; empty for None."""
    return "" if value is None else f"{value:,.0f}"


def short(value: float) -> str:
    """A count in three digits and a unit: 1.05M, 20k."""
    for scale, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= scale * 0.9995:
            return f"{value / scale:.3g}{unit}"
    return f"{value:.3g}"


def scientific(value: float | None, digits: int = 2) -> tuple[str, str] | None:
    """Mantissa and exponent as texts: 123456 gives ("1.23", "5"); None for None."""
    if value is None:
        return None
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return mantissa, str(int(exponent))


def symbol(name: str) -> str:
    """A parameter or column name in TeX mathematics: alpha, N_total."""
    head, _, tail = name.partition("_")
    head = rf"\{head}" if head in GREEK else head if len(head) == 1 else rf"\mathrm{{{head}}}"
    return rf"{head}_\mathrm{{{tail.replace('_', ' ')}}}" if tail else head


def formula(fit: Mapping[str, Any]) -> str:
    """A fit's formula in TeX mathematics without dollar signs.

    `L = E + A N^-alpha` becomes `L = E + A\\,N^{-\\alpha}`; the explaining column of the fit takes
    the place of the formula's x or N.
    """
    text = str(fit.get("formula") or fit["law"])
    text = re.sub(r"\^\(?([-+]?\w+)\)?", r"^{\1}", text).replace("*", " ")
    names = re.sub(r"[A-Za-z]\w*", lambda match: symbol(match[0]), text)
    if isinstance(fit["x"], str) and fit["x"] not in text:
        column = symbol(fit["x"]).replace("\\", r"\\")
        names = re.sub(r"(?<![\\\w{])[xN](?![\w}])", column, names)
    return re.sub(r"(?<=[A-Za-z}]) (?=[A-Za-z\\])", r"\\,", names)


def loss_unit(column: str) -> str:
    """The unit of a loss column in words, the same for every evaluation set."""
    return LOSS_UNITS.get(measure_of(column), column)


def loss_label(fit: Mapping[str, Any] | None) -> str:
    """The axis label of a held-out loss, with its evaluation set and its unit."""
    column = str(fit.get("y", "loss_nats")) if fit else "loss_nats"
    name = set_of(column)
    title = QUANTITIES[fit.get("quantity", CAUSAL.quantity) if fit else CAUSAL.quantity].title
    if name:
        title = f"{title.removeprefix('held-out ')} on {name}"
    return f"{title} ({loss_unit(column)})"


def column_label(fit: Mapping[str, Any] | None) -> str:
    """The axis label of a fit's x: its counting convention and symbol."""
    if fit is None:
        return "non-embedding parameters $N$"
    return f"{fit.get('convention') or fit['x']} ${symbol(fit['x'])}$"
