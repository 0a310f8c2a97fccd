"""The answer compression on the page and in its file."""

from scalelab.report import compression

POINT = {"N": 1e4, "D": 2e6, "loss": 3.5, "loss_se": 0.01}
SPEED = {**POINT, "texts": 64, "tokens_per_second": 5e4, "se": 200.0}
BLOCK = {
    "rows": [],
    "level": 0.95,
    "front": [{**POINT, "form": "int4", "bytes": 5e3, "front": True}],
    "speed_front": [
        {**SPEED, "form": "fp32", "front": True, "clear": True},
        {**SPEED, "form": "int8", "front": True, "clear": False},
        {**SPEED, "form": "fp16", "front": False, "clear": False},
    ],
}


def test_the_file_has_both_fronts_and_says_what_stands_on_them():
    rows = compression.csv_rows(BLOCK)
    head = ("compression", "int4", "model", 1e4, 2e6)
    assert rows[0] == (*head, "bytes", 5e3, None, None, None, "on the front")
    speeds = [row for row in rows if row[5] == "tokens_per_second"]
    assert [row[:3] for row in speeds] == [
        ("compression", form, "model writing 64") for form in ("fp32", "int8", "fp16")
    ]
    assert [row[-1] for row in speeds] == ["on the front, beyond the errors", "on the front", ""]
    assert [row[6] for row in rows if row[5] == "loss_nats"] == [3.5] * 4


def test_an_answer_from_before_there_were_speeds_is_shown():
    before = {key: value for key, value in BLOCK.items() if key != "speed_front"}
    assert len(compression.csv_rows(before)) == 2
