"""What a design is expected to tell before it is run, and what to run next.

`expected` gives the intervals of a design by simulation from a prior law, `weaknesses` says what
it cannot tell.
"""

from scalelab.advise.expected import Expectation, Expected, expected
from scalelab.advise.next import Choice, choose, choose_on_grid
from scalelab.advise.prior import Prior, prior
from scalelab.advise.weaknesses import weaknesses

__all__ = [
    "Choice",
    "Expectation",
    "Expected",
    "Prior",
    "choose",
    "choose_on_grid",
    "expected",
    "prior",
    "weaknesses",
]
