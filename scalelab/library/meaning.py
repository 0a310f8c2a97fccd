"""Which column of a source means what: sizes, tokens, FLOPs, the step, the held-out loss."""

import re
from collections.abc import Sequence

from scalelab.errors import UserError
from scalelab.laws.runs.points import normal_name
from scalelab.laws.runs.table import HELD_OUT, PERPLEXITY, ours

COUNTS = ("N", "N_total", "N_embedding", "D", "U", "C")
MEASURES = (*COUNTS, "bits_per_byte", "loss_nats_se")
TARGETS = (*MEASURES, "loss_nats", "step", "seed")
"""What --columns can name."""
ALSO = {
    "D": ("num_input_tokens_seen", "tokens_seen", "total_tokens", "consumed_tokens"),
    "C": ("total_flos",),
    "bits_per_byte": ("heldout_bits_per_byte",),
    "loss_nats_se": ("heldout_loss_nats_se",),
}
"""Names that logs use, beside those that a table of runs may have."""
STEPS = ("global_step", "step", "steps")
"""Not `_step` of W&B, which counts calls of its own."""
FINAL = ("heldout_loss_nats", "heldout_loss", *HELD_OUT, "valid_loss", "dev_loss")
BARE = ("loss_nats", "loss_bits", "final_loss", "loss", *PERPLEXITY)
NAMED_EVAL = re.compile(r"eval_\w+_loss")


def leaf(key: str) -> str:
    """The last part of a dotted or slashed key."""
    return re.split(r"[./]", key)[-1]


def plain(key: str) -> str:
    """A key in lower case with single underscores."""
    return normal_name(key.replace(".", "_"))


def find(target: str, keys: Sequence[str], where: str) -> str | None:
    """The key that means a target, None where none does.

    Whole keys come before last parts, and the names used here before others.

    Raises:
        UserError: two keys that mean it equally well.
    """
    also = ALSO.get(target, ())
    ranks = (
        lambda key: key == target,
        lambda key: ours(key) == target,
        lambda key: plain(key) in also,
        lambda key: leaf(key) == target,
        lambda key: ours(leaf(key)) == target,
        lambda key: plain(leaf(key)) in also,
    )
    for meets in ranks:
        if found := [key for key in keys if meets(key)]:
            return _one(found, target, where)
    return None


def find_step(keys: Sequence[str]) -> str | None:
    """The key of the optimizer's step."""
    for name in STEPS:
        for part in (plain, lambda key: plain(leaf(key))):
            if found := [key for key in keys if part(key) == name and key != "_step"]:
                return found[0]
    return None


def find_loss(keys: Sequence[str], bare: bool, where: str) -> str:
    """The key of the held-out loss. bare: whether `loss` alone may be it, as in a finished table.

    Raises:
        UserError: none, or several.
    """
    if bare and "loss_nats" in keys:
        return "loss_nats"
    for part in (plain, lambda key: plain(leaf(key))):
        for name in FINAL[:2]:
            if found := [key for key in keys if part(key) == name]:
                return _one(found, "the held-out loss", where, "--loss-column NAME")
        found = [key for key in keys if re.sub("_(nats|bits)$", "", part(key)) in FINAL]
        found = found or [key for key in keys if NAMED_EVAL.fullmatch(part(key))]
        if found:
            return _one(found, "the held-out loss", where, "--loss-column NAME")
    for name in BARE if bare else ():
        if found := [key for key in keys if plain(key) == name]:
            return found[0]
    losses = [key for key in keys if "loss" in key.lower() or plain(leaf(key)) in PERPLEXITY]
    there = f"found {', '.join(losses[:8])}" if losses else f"found {', '.join(keys[:12])}"
    raise UserError(
        f"{where}: no column says that it is a held-out loss: name one with --loss-column ({there})"
    )


def unit_of(key: str) -> str | None:
    """The unit that the name of a loss says."""
    name = plain(leaf(key))
    if name in PERPLEXITY:
        return "perplexity"
    return next((unit for unit in ("nats", "bits") if name.endswith(f"_{unit}")), None)


def _one(found: Sequence[str], target: str, where: str, how: str | None = None) -> str:
    if len(found) > 1:
        how = how or f"--columns {target}=NAME"
        raise UserError(
            f"{where}: both {found[0]!r} and {found[1]!r} could be {target}: name one with {how}"
        )
    return found[0]
