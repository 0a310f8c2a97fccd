"""What a study's design asks: one file an answer, which makes a block of laws.json.

`answer` registers a function (material, settings) -> block; `give` makes all that a study asks for.
"""

from scalelab.laws.answers.registry import Material, answer, get, give, names

__all__ = ["Material", "answer", "get", "give", "names"]
