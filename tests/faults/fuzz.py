"""How much is tried: little in each run of the tests, more where SCALELAB_FUZZ says how often."""

import os

from hypothesis import HealthCheck, settings


def examples(usual: int) -> settings:
    """Settings of a property: so many examples, or `SCALELAB_FUZZ` times as many."""
    return settings(
        max_examples=usual * int(os.environ.get("SCALELAB_FUZZ", "1")),
        deadline=None,
        derandomize="SCALELAB_FUZZ" not in os.environ,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
