"""Planning: a study becomes a table of runs, before anything trains. Never imports torch."""

from scalelab.plan.runs import Plan, Run, build

__all__ = ["Plan", "Run", "build"]
