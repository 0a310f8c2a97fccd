"""config/README.md is what the dataclasses say."""

from pathlib import Path

from scalelab.plan.describe import markdown

README = Path(__file__).parents[3] / "config" / "README.md"


def test_reference_is_up_to_date():
    assert README.read_text(encoding="utf-8") == markdown(), (
        "write it anew: python -m scalelab.plan.describe > config/README.md"
    )


def test_every_key_has_a_meaning():
    rows = [line for line in markdown().splitlines() if line.startswith("| `")]
    assert len(rows) > 40
    assert not [row for row in rows if not row.split(" | ")[-1].strip(" |")]
