"""What the models write, from the file of `scalelab samples`."""

from collections.abc import Mapping
from typing import Any

from scalelab.figures import numbers


def shown(samples: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """`about`, `prompts` and `sizes` as the template shows them; None without any text."""
    if not samples or not samples.get("prompts"):
        return None
    settings = samples["settings"]
    sizes = [
        {
            "n": numbers.count(one["N"]),
            "loss": f"{one['loss_nats']:.3f}",
            "texts": one["texts"],
            "reason": one["reason"],
        }
        for one in samples["sizes"]
    ]
    about = (
        "The best run of each size goes on with the same beginnings of held-out documents: "
        f"{settings['tokens']} tokens, drawn at temperature {settings['temperature']:g} with the "
        f"same random numbers (seed {settings['seed']}). Loss is in nats per token. A text that "
        "stops early ended its document. These are single draws, to see what a loss means; they "
        "measure nothing."
    )
    return {"about": about, "prompts": samples["prompts"], "sizes": sizes}
