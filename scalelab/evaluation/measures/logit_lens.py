"""At which depth a model has made up its mind: the head read at every layer.

The logit lens (nostalgebraist 2020, "interpreting GPT: the logit lens") applies the final norm and
the head to what each layer hands on. Early layers of a model may keep it in another basis, which
the lens does not see (Belrose et al. 2023, arXiv:2303.08112).
"""

from collections.abc import Mapping

import numpy as np
import torch

from scalelab.evaluation.measures import (
    Estimate,
    Subject,
    batches,
    final_norm,
    logits_of,
    losses_of,
    mean_of,
    measure,
)


@measure
def logit_lens(subject: Subject) -> Mapping[str, Estimate]:
    """decision_depth, the share of the layers after which the likeliest token is the final one and
    stays it (0: at the embeddings, 1: at the last layer); middle_excess_nats, the loss read at the
    middle of the layers over the model's own."""
    norm, head = final_norm(subject.model), subject.model.get_output_embeddings()
    depths, excess = [], []
    for batch in batches(subject.windows):
        out = logits_of(subject, batch[:, :-1], output_hidden_states=True)
        # Before the first layer, after each; transformers gives the last one normed.
        hidden = out.hidden_states
        layers = len(hidden) - 1
        final = out.logits.argmax(-1)
        # Layers that were not final yet, from the last backwards without a gap.
        decided = torch.full(final.shape, layers, device=final.device)
        still = torch.ones(final.shape, dtype=torch.bool, device=final.device)
        with torch.inference_mode():
            for layer in range(layers - 1, -1, -1):
                logits = head(norm(hidden[layer]))
                still &= logits.argmax(-1) == final
                decided = torch.where(still, layer, decided)
                if layer == layers // 2:
                    middle = losses_of(logits, batch[:, 1:])
        own = losses_of(out.logits, batch[:, 1:])
        depths.append(decided.double().mean(1).cpu().numpy() / layers)
        excess.append((middle - own).mean(axis=1))
    return {
        "decision_depth": mean_of(np.concatenate(depths)),
        "middle_excess_nats": mean_of(np.concatenate(excess)),
    }
