"""The one exception that is shown to people as a sentence instead of a traceback."""


class UserError(Exception):
    """Bad input. The message is one sentence: where, what was found, what was expected.

    The command line prints it and exits with code 2.
    """

    resumable = False
    """Whether another try may succeed and go on from what was done."""


class TryAgain(UserError):
    """Something outside, such as a network, failed: what was done so far is kept."""

    resumable = True


def first_line(error: BaseException) -> str:
    """What an error says, as one line of at most 300 characters; its kind where it says nothing."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:300]
