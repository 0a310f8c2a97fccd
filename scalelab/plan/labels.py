"""What progress lines call a run."""

from typing import Any

from scalelab.plan.families import Shape, count


def label_of(spec: dict[str, Any]) -> str:
    """Size, width and seed of a run's specification."""
    size = count(Shape(**spec["model"])).n
    return f"N={size:,} d={spec['model']['width']} seed {spec['seed']}"
