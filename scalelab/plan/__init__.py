"""Planning: a study becomes a table of runs, before anything trains. Never imports torch.

Start at `scalelab.plan.runs`. It is not imported here: a training job needs the families alone.
"""
