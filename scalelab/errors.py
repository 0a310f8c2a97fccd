"""The one exception that is shown to people as a sentence instead of a traceback."""

import errno
import re
from typing import Any

SIGNED = (
    r"x-(?:amz|goog)-(?:signature|credential|security-token)|signature|sig|token|access_token"
    r"|api_?key|key|password|secret"
)
"""Names of query parameters that let whoever has the address in, of the large stores' and usual."""
PASSWORD = re.compile(r"(?<=://)([^\s/@:'\"]*):([^\s/'\"]+)@")
PARAMETER = re.compile(rf"(?i)(?<=[?&])({SIGNED})=[^&\s'\"]+")


def redacted(text: str) -> str:
    """A text whose addresses show no password and no signature, but `***` in their place."""
    return PARAMETER.sub(r"\1=***", PASSWORD.sub(r"\1:***@", text))


class UserError(Exception):
    """Bad input. The message is one sentence: where, what was found, what was expected.

    The command line prints it and exits with code 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(redacted(message))

    resumable = False
    """Whether another try may succeed and go on from what was done."""


class TryAgain(UserError):
    """Something outside, such as a network, failed: what was done so far is kept."""

    resumable = True


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a disk says that takes no more."""
CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)
"""What the system says of a file that may not be read or written."""


def of_system(error: OSError, where: object = None) -> UserError | None:
    """The sentence for a full disk and for a file that may not be touched; None for other errors.

    where: what is named where the system does not say which file it was.
    """
    named = error.filename or where
    name = f"{named}: " if named else ""
    if error.errno in FULL:
        return UserError(
            f"{name}the disk takes no more ({error.strerror}); free some space and run the same "
            "command again"
        )
    if error.errno in CLOSED:
        return UserError(
            f"{name}may not be read or written here ({error.strerror}); name another folder or "
            "change who may"
        )
    return None


def first_line(error: BaseException) -> str:
    """What an error says, as one printable line of some 300 characters, or its kind."""
    lines = str(error).strip().splitlines()
    line = (lines[0] if lines else type(error).__name__)[:300]
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in line)


def shown(value: Any, most: int = 100) -> str:
    """A value in a message; of a long one its beginning."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."
