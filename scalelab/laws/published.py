"""Laws from papers, with their constants as printed, to predict and to allocate with by name.

Each constant was compared with a transcription of the source made by others: the Hoffmann and
Besiroglu numbers with Besiroglu et al.'s code and its users, Muennighoff's with the text of their
appendix A, Kaplan's with several copies of their tables.
"""

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scalelab.errors import UserError

PF_DAY_FLOPS = 1e15 * 24 * 3600
"""FLOPs of one petaflop/s-day: 8.64e19 (Kaplan et al. 2020, section 1.3)."""
CHINCHILLA_N = "N: all parameters as counted by Hoffmann et al. 2022; D: training tokens"
KAPLAN_N = "non-embedding parameters"


@dataclass(frozen=True)
class PublishedLaw(Mapping[str, Any]):
    """One published law; as a mapping it is its `to_block`, so `laws.predict(ref, x)` works.

    params: natural values, at the precision printed. columns: those of the law, in its order.
    """

    name: str
    law: str
    params: dict[str, float]
    columns: tuple[str, ...]
    convention: str
    source: str
    note: str = ""

    def to_block(self) -> dict[str, Any]:
        """What a fit's JSON has of it: law, x, y, params, convention, source."""
        return {
            "published": self.name,
            "law": self.law,
            "x": self.columns[0] if len(self.columns) == 1 else list(self.columns),
            "y": "loss_nats",
            "params": dict(self.params),
            "convention": self.convention,
            "source": self.source,
            "note": self.note,
        }

    def __getitem__(self, key: str) -> Any:
        return self.to_block()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_block())

    def __len__(self) -> int:
        return len(self.to_block())


def _power(coefficient: float, exponent: float) -> dict[str, float]:
    """(x_c / x)^a as A x^-a, in the parameters of the law `power`."""
    return {"A": coefficient**exponent, "alpha": exponent}


_ALL = (
    PublishedLaw(
        name="hoffmann2022",
        law="chinchilla",
        params={"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28},
        columns=("N", "D"),
        convention=CHINCHILLA_N,
        source="Hoffmann et al. 2022 (arXiv:2203.15556), equation 10",
        note="exponents rounded for print: use hoffmann2022-unrounded to extrapolate",
    ),
    PublishedLaw(
        name="hoffmann2022-unrounded",
        law="chinchilla",
        params={
            "E": math.exp(0.5267228),
            "A": math.exp(6.0073404),
            "alpha": 0.33917084,
            "B": math.exp(6.0179186),
            "beta": 0.2849083,
        },
        columns=("N", "D"),
        convention=CHINCHILLA_N,
        source="Hoffmann et al. 2022 (arXiv:2203.15556), comment in the TeX source, as quoted by "
        "Besiroglu et al. 2024 (arXiv:2404.10102)",
        note="the optimiser had stopped early, see Besiroglu et al.",
    ),
    PublishedLaw(
        name="besiroglu2024",
        law="chinchilla",
        params={"E": 1.8172, "A": 482.01, "alpha": 0.3478, "B": 2085.43, "beta": 0.3658},
        columns=("N", "D"),
        convention=CHINCHILLA_N,
        source="Besiroglu et al. 2024 (arXiv:2404.10102), their estimates",
        note="refit of 240 points read from a figure of Hoffmann et al.",
    ),
    PublishedLaw(
        name="kaplan2020-N",
        law="power",
        params=_power(8.8e13, 0.076),
        columns=("N",),
        convention=f"N: {KAPLAN_N}; trained to convergence on enough data",
        source="Kaplan et al. 2020 (arXiv:2001.08361), equation 1.1: N_c = 8.8e13, alpha_N = 0.076",
    ),
    PublishedLaw(
        name="kaplan2020-D",
        law="power",
        params=_power(5.4e13, 0.095),
        columns=("D",),
        convention="D: tokens of the data set; large models, stopped early",
        source="Kaplan et al. 2020 (arXiv:2001.08361), equation 1.2: D_c = 5.4e13, alpha_D = 0.095",
    ),
    PublishedLaw(
        name="kaplan2020-C",
        law="power",
        params=_power(3.1e8 * PF_DAY_FLOPS, 0.050),
        columns=("C",),
        convention="C: FLOPs, 6 N D without embeddings, at the best size and a batch far below the "
        "critical one (their C_min), converted from PF-days at 8.64e19 FLOPs",
        source="Kaplan et al. 2020 (arXiv:2001.08361), equation 1.3: C_c = 3.1e8 PF-days, "
        "alpha_C = 0.050",
        note="their figure 1 prints 2.3e8 PF-days for the same law",
    ),
    PublishedLaw(
        name="kaplan2020-joint",
        law="kaplan",
        params={"N_c": 6.4e13, "alpha_N": 0.076, "D_c": 1.8e13, "alpha_D": 0.103},
        columns=("N", "D"),
        convention=f"N: {KAPLAN_N}; D: tokens of the data set, stopped early",
        source="Kaplan et al. 2020 (arXiv:2001.08361), equation 1.5 with table 2",
        note="fitted together, so not the constants of the laws in N and in D alone; D is what "
        "the data set holds, not what a run sees, so 6 N D is not its training cost",
    ),
    PublishedLaw(
        name="muennighoff2023",
        law="data_constrained",
        params={
            "E": math.exp(0.6254804),
            "A": math.exp(6.255414),
            "alpha": 0.3526596,
            "B": math.exp(7.3049974),
            "beta": 0.3526596,
            "R_D": 15.387756,
            "R_N": 5.309743,
        },
        columns=("N", "D", "U"),
        convention="N: all parameters; D: tokens seen; U: unique tokens",
        source="Muennighoff et al. 2023 (arXiv:2305.16264), appendix A; logs a = 6.255414, "
        "b = 7.3049974, e = 0.6254804 in their notebook",
        note="on C4; repeats and excess parameters lose value but never harm",
    ),
)


@dataclass(frozen=True)
class PublishedExponent:
    """An exponent a of N_opt ~ C^a as a paper gives it; low and high None where it gives none."""

    name: str
    exponent: float
    low: float | None
    high: float | None
    level: float | None
    source: str


_TABLE_2 = "Hoffmann et al. 2022 (arXiv:2203.15556), table 2: percentiles 10 and 90"
EXPONENTS = (
    PublishedExponent(
        "Kaplan et al. 2020",
        0.73,
        None,
        None,
        None,
        "Kaplan et al. 2020 (arXiv:2001.08361), equation 1.7, at the critical batch",
    ),
    PublishedExponent("Hoffmann et al. 2022, envelope", 0.50, 0.488, 0.502, 0.8, _TABLE_2),
    PublishedExponent("Hoffmann et al. 2022, isoflop", 0.49, 0.462, 0.534, 0.8, _TABLE_2),
    PublishedExponent("Hoffmann et al. 2022, parametric", 0.46, 0.454, 0.455, 0.8, _TABLE_2),
    PublishedExponent(
        "Besiroglu et al. 2024, parametric",
        0.3658 / (0.3478 + 0.3658),
        None,
        None,
        None,
        "Besiroglu et al. 2024 (arXiv:2404.10102): beta / (alpha + beta) of their estimates",
    ),
)
"""Exponents of N_opt in papers, each with its own count of N and C."""
_BY_NAME = {law.name: law for law in _ALL}


def names() -> tuple[str, ...]:
    """Names of the published laws, sorted."""
    return tuple(sorted(_BY_NAME))


def get(name: str) -> PublishedLaw:
    """The published law of that name; an unknown one is a `UserError` with the near name."""
    if name not in _BY_NAME:
        near = difflib.get_close_matches(str(name), names(), n=1)
        hint = f", did you mean {near[0]!r}" if near else ""
        raise UserError(
            f"published law {name!r} is unknown{hint}: expected one of {', '.join(names())}"
        )
    return _BY_NAME[name]
