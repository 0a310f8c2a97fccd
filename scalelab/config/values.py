"""Numbers as people write them in study files, and their limits."""

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

STRICT = ConfigDict(extra="forbid")
"""Of each section: an unknown key is an error."""

UNITS = {"k": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12}


LARGEST_COUNT = 10**24
"""More tokens or parameters than anybody asks for."""


def to_count(value: Any) -> Any:
    """Whole numbers as people write them: 4000000, 4e6, "4e6", "4M"."""
    if isinstance(value, bool):
        raise ValueError("expected a whole number")
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*([kMGBT]?)\s*", value)
        if not match:
            raise ValueError("expected a whole number such as 4000000, 4e6 or 4M")
        try:
            # Not as floats: 2.05 times a million is not whole there.
            value = float(Decimal(match[1]) * UNITS.get(match[2], 1))
        except ArithmeticError:
            raise ValueError("expected a whole number such as 4000000, 4e6 or 4M") from None
    if isinstance(value, float):
        if value != value or abs(value) == float("inf") or value != round(value):
            raise ValueError("expected a whole number")
        value = round(value)
    if isinstance(value, int) and abs(value) > LARGEST_COUNT:
        raise ValueError(f"expected at most {LARGEST_COUNT:.0e}")
    return value


def to_number(value: Any) -> Any:
    """Anything but a truth value, which Python would take for 0 or 1."""
    if isinstance(value, bool):
        raise ValueError("expected a number")
    return value


def to_encoding(value: str) -> str:
    """The name of an encoding of text that Python knows, or detect."""
    if value == "detect":
        return value
    try:
        "".encode(value)  # what is no encoding of text, such as base64, is refused too
    except LookupError:
        raise ValueError(
            "expected an encoding such as utf-8, cp1252 or utf-16, or detect"
        ) from None
    return value


Count = Annotated[int, BeforeValidator(to_count)]
HeldOutTokens = Annotated[int, BeforeValidator(to_count), Field(ge=2)]
"""A split opens with a separator, which is given and not scored, so one token more is the least."""
HeldOutShare = Annotated[float, BeforeValidator(to_number), Field(gt=0, le=0.5)]
Positive = Annotated[int, BeforeValidator(to_count), Field(gt=0)]
Number = Annotated[float, BeforeValidator(to_number), Field(allow_inf_nan=False)]
Rate = Annotated[float, BeforeValidator(to_number), Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, BeforeValidator(to_number), Field(ge=0, le=1, allow_inf_nan=False)]
Epsilon = Annotated[float, BeforeValidator(to_number), Field(ge=0.1, le=100)]
"""Above 100 a budget says nothing; below 0.1 the accountant's own error is too large a part."""
Delta = Annotated[float, BeforeValidator(to_number), Field(gt=0, lt=0.1)]
Decay = Annotated[float, BeforeValidator(to_number), Field(ge=0, lt=1, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=60)]
NonNegative = Annotated[float, BeforeValidator(to_number), Field(ge=0, allow_inf_nan=False)]
