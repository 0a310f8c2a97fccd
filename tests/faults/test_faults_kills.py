"""Kills at many moments, where SCALELAB_KILLS says how many: some minutes for five of them."""

import os
from pathlib import Path

import kills
import pytest

NUMBER = int(os.environ.get("SCALELAB_KILLS", "0"))


@pytest.mark.slow
@pytest.mark.skipif(
    NUMBER == 0,
    reason="SCALELAB_KILLS is not set; tests/workflow/test_workflow_faults.py kills two workflows",
)
def test_the_same_command_completes_whenever_it_was_killed(tmp_path: Path) -> None:
    """Case S18: chains of five kills at drawn moments, and for thirty one of all stages."""
    reference = kills.make_reference(tmp_path)
    chains = kills.chains(NUMBER, 5, NUMBER // 30, reference.seconds, seed=NUMBER)
    for number, chain in enumerate(chains):
        found = kills.kill_and_rerun(reference, tmp_path / f"chain-{number}", chain)
        assert found["faults"] == [], found["kills"]
