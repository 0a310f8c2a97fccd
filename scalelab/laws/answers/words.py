"""Answers as sentences, for a terminal and for the report."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scalelab.evaluation.columns import part_of, set_of

Number = float | None


def describe(block: Mapping[str, Any]) -> str:
    """The answer's lines and its warnings."""
    lines = [f"{block['answer']}: {line}" for line in sentences(block)]
    return "\n".join([*lines, *(f"warning: {text}" for text in block["warnings"])])


def sentences(block: Mapping[str, Any]) -> list[str]:
    """The answer in plain sentences; those of an answer without words of its own are none."""
    said: dict[str, Callable[[Mapping[str, Any]], list[str]]] = {
        "by_axis": _by_axis,
        "compression": _compression,
        "downstream": _downstream,
        "modalities": _modalities,
        "frontier": _frontier,
        "optimum": _optimum,
        "transfer": _transfer,
        "trend": _trend,
    }
    told = said.get(str(block["answer"]), lambda _: [])(block)
    return [*told, spent_text(block["cost"])] if block.get("cost") else told


def digits(value: float) -> str:
    """Three significant digits, as a plain number where it has few: 1010, 0.00498."""
    return f"{float(f'{value:.3g}'):g}"


def with_ends(value: float, ends: Sequence[Number], form: str | None = None) -> str:
    """`0.51 [0.48, 0.54]` in three digits or that format; an end that is missing is `open`."""

    def text_of(number: float) -> str:
        return digits(number) if form is None else format(number, form)

    text = text_of(value)
    if all(end is None for end in ends):
        return text
    shown = ("open" if end is None else text_of(end) for end in ends)
    return f"{text} [{', '.join(shown)}]"


def spent_text(cost: Mapping[str, Any]) -> str:
    """What all runs took together."""
    parts = [f"{cost['runs']} runs"]
    for key, form, unit in (
        ("flops", ".3g", "FLOPs"),
        ("tokens", ".3g", "tokens"),
        ("seconds", ".0f", "seconds of training"),
        ("core_hours", ".3g", "core-hours"),
    ):
        if cost.get(key):
            parts.append(f"{cost[key]:{form}} {unit}")
    return f"The design cost {', '.join(parts)}."


def _frontier(block: Mapping[str, Any]) -> list[str]:
    told = []
    level = f"{block['level']:.0%}"
    for one in block["approaches"]:
        if one["reason"] is not None:
            told.append(f"The {one['approach']} approach could not be made: {one['reason']}.")
            continue
        a = with_ends(one["N_opt"]["exponent"], one["N_opt"]["interval"], ".3f")
        b = with_ends(one["D_opt"]["exponent"], one["D_opt"]["interval"], ".3f")
        at = one["at"]
        n, d = (with_ends(at[name][0], at[name][1:]) for name in ("N", "D"))
        told.append(
            f"By the {one['approach']} approach N_opt grows as C^{a} and D_opt as C^{b} "
            f"({level} intervals); at C = {at['flops']:.3g} FLOPs the best model has "
            f"N = {n}, trained on D = {d} tokens."
        )
    if block["agreement"]:
        text = str(block["agreement"])
        told.append(text[:1].upper() + text[1:] + ".")
    return told


def _by_axis(block: Mapping[str, Any]) -> list[str]:
    """Exponents and offsets by value, then what kinds of difference the runs show."""
    axis, level, reference = block["axis"], f"{block['level']:.0%}", block["values"][0]
    names = {one["value"]: _called(axis, one["value"]) for one in block["values"]}
    first = names[block["reference"]]
    at = f"{block['x']} = {digits(block['at'])}"
    scored = set_of(block["y"])
    told = [
        f"{f'On the set {scored}, with' if scored else 'With'} one floor for every {axis}, "
        f"{with_ends(block['floor'][0], block['floor'][1:])} "
        f"{_unit(block['y'])}, the loss above it falls with the exponent "
        f"{with_ends(reference['exponent'][0], reference['exponent'][1:], '.3f')} for "
        f"{first} and is {digits(reference['above_floor'][0])} at {at} ({level} "
        "intervals)."
    ]
    for one in block["values"][1:]:
        exponent, ratio = one["exponent_difference"], one["offset_ratio"]
        told.append(
            f"For {names[one['value']]} the exponent differs by "
            f"{with_ends(exponent[0], exponent[1:], '+.3f')}, and at {at} the loss above the "
            f"floor is {with_ends(ratio[0], ratio[1:], '.3f')} times that of {first}."
        )
    parts = [
        f"{test['differ_in']} {test['share']:.1%} ({_p(test['p'])})" for test in block["tests"]
    ]
    told.append(
        f"Of what one law for every {axis} leaves unexplained, differences explain, one after the "
        f"other: {', '.join(parts)}."
    )
    return told


def _modalities(block: Mapping[str, Any]) -> list[str]:
    """A sentence for each kind of sequence, in its own unit."""
    told = []
    for one in block["values"]:
        moved = one["exponent_difference"]
        compared = (
            f" ({with_ends(moved[0], moved[1:], '+.3f')} against {block['reference']})"
            if moved
            else ""
        )
        told.append(
            f"On {one['value']} the loss falls from {digits(one['smallest'])} to "
            f"{digits(one['largest'])} {one['unit']}, to a floor of "
            f"{with_ends(one['floor'][0], one['floor'][1:])}, with the exponent "
            f"{with_ends(one['exponent'][0], one['exponent'][1:], '.3f')}{compared}; at the "
            f"largest size {one['above_floor']:.0%} of it is above the floor "
            f"({block['level']:.0%} intervals)."
        )
    return told


def _called(axis: str, value: str) -> str:
    """A value of an axis in a sentence: a number is told with what it is a number of."""
    try:
        float(value)
    except ValueError:
        return value
    return f"{axis} {value}"


def _unit(y: str) -> str:
    return "bits per byte" if y.endswith("bits_per_byte") else "nats per token"


def _p(p: Number) -> str:
    if p is None:
        return "p unknown"
    return "p < 0.001" if p < 0.001 else f"p = {digits(p)}"


def _optimum(block: Mapping[str, Any]) -> list[str]:
    axis = block["axis"]
    told = [rule_text(block)] if block["rule"] else []
    for size in block["sizes"]:
        where = f"At N = {size['N']:.4g}"
        low, high = ("open" if end is None else digits(end) for end in size["basin"])
        if size["optimum"] is None:
            told.append(
                f"{where} the best {axis} tried is {size['best']:.4g}, at an end of the sweep; "
                f"losses within {block['share']:.0%} of it reach from {low} to {high}."
            )
        else:
            told.append(
                f"{where} the best {axis} is {with_ends(size['optimum'], size['interval'])}; "
                f"within {block['share']:.0%} of its loss from {low} to {high}."
            )
    part = part_of(block)
    return [f"{part}: {line}" for line in told] if part else told


def _trend(block: Mapping[str, Any]) -> list[str]:
    told = []
    for row in block["rows"]:
        first, last = row["sizes"][0], row["sizes"][-1]
        low, high = row["interval"]
        sign = low is not None and high is not None and (low > 0 or high < 0)
        at = f" at D = {row['tokens']:.3g}" if row["tokens"] else ""
        told.append(
            f"{row['column']}{at} goes from {digits(first['value'])} at N = {first['N']:.3g} to "
            f"{digits(last['value'])} at N = {last['N']:.3g}: "
            f"{with_ends(row['slope'], row['interval'])} a tenfold ({block['level']:.0%} interval)"
            + ("" if sign else ", which may be none")
            + ("." if row["steady"] or not sign else "; not every size goes the same way.")
        )
    return told


def _compression(block: Mapping[str, Any]) -> list[str]:
    told = []
    for row in block["rows"]:
        size, tokens = row["exponent_N"], row["exponent_tokens_per_parameter"]
        more = "" if tokens is None else f" and (D/N)^{with_ends(tokens[0], tokens[1:])}"
        told.append(
            f"The damage of {row['way']} goes as N^{with_ends(size[0], size[1:])}{more} "
            f"({row['points']} runs, {block['level']:.0%} intervals)."
        )
    front = [point for point in block["front"] if point["front"]]
    if front:
        forms = sorted({point["form"] for point in front})
        told.append(
            f"Of {len(block['front'])} models and formats {len(front)} have the least loss for "
            f"their bytes; their formats are {', '.join(forms)}."
        )
    return told + _speeds(block.get("speed_front", []))


def _speeds(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each number of texts at once."""
    told = []
    for texts in dict.fromkeys(point["texts"] for point in points):
        here = [point for point in points if point["texts"] == texts]
        front = [point for point in here if point["front"]]
        forms = ", ".join(sorted({point["form"] for point in front}))
        at_once = "one text" if texts == 1 else f"{texts} texts at once"
        told.append(
            f"Writing {at_once}, of {len(here)} models and forms {len(front)} have the least loss "
            f"for their speed, {sum(point['clear'] for point in front)} of them by more than the "
            f"errors; their forms are {forms}."
        )
    return told


def _downstream(block: Mapping[str, Any]) -> list[str]:
    """A sentence for each task with a law; the others are among the warnings."""
    told = []
    for row in block["rows"]:
        law = row["law"]
        if law is None:
            continue
        gamma = with_ends(law["params"]["gamma"], law["intervals"]["gamma"])
        first, last = (row["runs"][place]["accuracy"] for place in (0, -1))
        text = (
            f"The accuracy of {row['task']} goes from {first:.3f} at the smallest size to "
            f"{last:.3f} at the largest, {row['chance']:g} being chance; its gap to chance grows "
            f"as exp(-gamma L) with gamma = {gamma} per nat of the loss ({block['level']:.0%} "
            "intervals)"
        )
        if held := law["heldout"]:
            predicted = with_ends(held["predicted"], held["interval"], ".3f")
            text += f"; from the others that of the least loss is predicted as {predicted}, and is "
            text += f"{held['observed']:.3f}"
        told.append(f"{text}.")
    return told


def _transfer(block: Mapping[str, Any]) -> list[str]:
    """For each checkpoint its smallest and largest size at the least data, bounds, the law."""
    told = []
    for one in block["values"]:
        name, cells, law = one["value"], one["cells"], one["law"]
        known = [cell for cell in cells if cell["transferred"] is not None]
        ends = {known[0]["N"], known[-1]["N"]} if known else set()
        for n in sorted(ends):
            cell = next(cell for cell in known if cell["N"] == n)
            effective = with_ends(cell["effective"], cell["effective_interval"])
            told.append(
                f"From {name} a model of N = {digits(n)} has after {digits(cell['D'])} tokens the "
                f"loss that takes {effective} tokens from random weights: D_T = "
                f"{digits(cell['transferred'])}, {cell['share']:.0%} of them, were transferred."
            )
        for bound, loss, end, place in (
            ("more", "lower", "most", 1),
            ("less", "higher", "least", 0),
        ):
            beyond = [cell for cell in cells if cell["bound"] == bound]
            if beyond:
                limits = sorted({digits(cell["measured"][place]) for cell in beyond}, key=float)
                told.append(
                    f"{len(beyond)} of {len(cells)} runs from {name} have a {loss} loss than any "
                    f"run of their size from random weights: their D_E is {bound} than the {end} "
                    f"that was measured ({', '.join(limits)} tokens)."
                )
        if law:
            powers = " ".join(
                f"{letter}^{with_ends(law[key][0], law[key][1:])}"
                for key, letter in (("exponent_D", "D_F"), ("exponent_N", "N"))
                if law[key]
            )
            told.append(
                f"D_T goes as {powers} ({law['points']} runs from {name}, {block['level']:.0%} "
                f"intervals) and is {with_ends(law['value'][0], law['value'][1:])} tokens at "
                f"N = {digits(law['at']['N'])} and D_F = {digits(law['at']['D'])}."
            )
    return told


def rule_text(block: Mapping[str, Any]) -> str:
    """The rule of an optimum, as a sentence and as a study file writes it."""
    rule, law = block["rule"], block["law"]
    exponent = with_ends(rule["exponent"], law["interval"], ".3f")
    value = with_ends(rule["value"], law["value_interval"])
    file = ", ".join(
        f"{key}: {item if isinstance(item, str) else format(item, '.4g')}"
        for key, item in rule.items()
    )
    return (
        f"The best {block['axis']} is {value} at {rule['of']} = {rule['at']:.3g} and goes as "
        f"{rule['of']}^{exponent} ({law['points']} sizes, {block['level']:.0%} intervals); in a "
        f"study file: {{{file}}}."
    )
