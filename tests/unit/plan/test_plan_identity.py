"""A run is what it computes: in how many processes is no part of its id, nor of that of a trunk."""

from typing import Any

from scalelab.config import parse
from scalelab.files import digest
from scalelab.plan.identity import result_of
from scalelab.plan.runs import Plan, build

STUDY = {
    "study": "s",
    "ladder": {"widths": [32, 64]},
    "training": {
        "tokens": "1M",
        "schedule": {"kind": "wsd", "warmup_tokens": 100_000, "share_trunk": True},
    },
}


def plan(**compute: Any) -> Plan:
    """The study with large runs from the first one on."""
    return build(parse({**STUDY, "compute": {"large_from": 1, "large_threads": 1, **compute}}))


def test_runs_and_trunks_have_one_id_however_many_processes_train_them() -> None:
    one = plan()
    for more in ({"large_processes": 2}, {"large_processes": 4, "sharding": True}):
        several = plan(**more)
        assert [run.id for run in several.runs] == [run.id for run in one.runs]
        assert [trunk.id for trunk in several.trunks] == [trunk.id for trunk in one.trunks]
        found = [each.spec for each in (*several.runs, *several.trunks)]
        assert {spec["processes"] for spec in found} == {more["large_processes"]}
        assert {spec["sharding"] for spec in found} == {more.get("sharding", False)}
        plain = [each.spec for each in (*one.runs, *one.trunks)]
        assert [result_of(spec) for spec in found] == plain


def test_a_run_of_one_process_has_the_id_of_its_whole_specification() -> None:
    """As before processes were left out: no finished run is trained anew."""
    assert [digest(run.spec) for run in plan().runs] == [run.id for run in plan().runs]
    assert {run.id for run in plan(large_threads=2).runs}.isdisjoint(run.id for run in plan().runs)
