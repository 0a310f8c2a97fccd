"""What is weak in a plan and can be told from its runs alone, before anything is trained."""

from collections import Counter

from scalelab.plan.runs import Plan

FEW_STEPS = 150
"""Below it warm-up and cooldown are most of a run, and its loss says more of them than of N."""
FEW_SIZES = 5


def warnings(plan: Plan) -> list[str]:
    """Sentences, none for a sound plan. What the law can tell is said by `scalelab.advise`."""
    return [*_steps(plan), *_sizes(plan), *_seeds(plan), *_text(plan)]


def _steps(plan: Plan) -> list[str]:
    short = [run for run in plan.runs if run.spec["training"]["steps"] < FEW_STEPS]
    if not short:
        return []
    least = min(run.spec["training"]["steps"] for run in short)
    return [
        f"{len(short)} of {len(plan.runs)} runs have fewer than {FEW_STEPS} steps (the shortest "
        f"{least}): their loss says more of warm-up and cooldown than of size; lower "
        "training.batch_tokens or raise the tokens"
    ]


def _sizes(plan: Plan) -> list[str]:
    sizes = {run.counts.n for run in plan.runs}
    laws = {fit.get("x") or "N" for fit in plan.fits}
    if plan.fits and laws & {"N", "N_total"} and len(sizes) < FEW_SIZES:
        return [
            f"{len(sizes)} sizes: a law with a floor has three constants, and with fewer than "
            f"{FEW_SIZES} sizes hardly anything is left to check it by"
        ]
    return []


def _seeds(plan: Plan) -> list[str]:
    again = Counter((run.counts.n, run.tokens, run.spec["training"]["lr"]) for run in plan.runs)
    if plan.fits and max(again.values()) == 1:
        return [
            "no size is trained with two seeds: the noise of a run is taken from the residuals, "
            "which also hold what the law misses; give ladder.smallest: 2"
        ]
    return []


def _text(plan: Plan) -> list[str]:
    limit = plan.study.corpus.max_bytes
    wanted = max(run.unique_tokens for run in plan.runs)
    if limit is None or wanted <= limit:
        return []
    return [
        f"the longest run sees {wanted:,} distinct tokens, and corpus.max_bytes keeps {limit:,} "
        "bytes of text, less than one byte a token; raise it or set training.unique_tokens"
    ]
