"""The trackers, one file each, whose name is the tracker's."""

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scalelab.errors import UserError
from scalelab.tracking.record import Record


@dataclass(frozen=True)
class Upload:
    """What came of an upload: a sentence if it failed, and the address of the run if known."""

    fault: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class Tracker:
    """What a tracker has to do.

    log(record, folder): write one run below `folder` without a network, and give the name of what
    was written there. forget(record, folder): remove an older copy of it. upload(path): send what
    was written; None for a tracker that is local alone.
    sent(path): whether the tracker itself says that it was sent, in case that we were killed before
    we noted it. package: what must be installed; extra: what of ours installs it.
    """

    name: str
    log: Callable[[Record, Path], str]
    forget: Callable[[Record, Path], None]
    upload: Callable[[Path], Upload] | None = None
    sent: Callable[[Path], bool] | None = None
    package: str | None = None
    extra: str | None = None

    def missing(self) -> str | None:
        """A sentence where the package is not installed."""
        if self.package is None or _is_there(self.package):
            return None
        how = f"pip install 'scalelab[{self.extra}]'" if self.extra else "pip install scalelab"
        return f"{self.name}: the package {self.package} is not installed ({how})"


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # blocked, or half imported
        return False


def names() -> list[str]:
    """Names of all trackers."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def get(name: str) -> Tracker:
    """The tracker of that name; `UserError` names those there are."""
    if name not in names():
        raise UserError(f"tracker {name!r}: expected one of {', '.join(names())}")
    tracker = importlib.import_module(f"{__name__}.{name}").TRACKER
    assert isinstance(tracker, Tracker)
    return tracker
