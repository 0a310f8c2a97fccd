"""Which commit of a dataset of the Hugging Face hub a study reads. The hub's library is lazy."""

import hashlib
import json
import os
import re
import sys
from pathlib import Path

from scalelab.config import HubConfig
from scalelab.errors import UserError, first_line
from scalelab.plan.files import remembered_sha256

FOUND = "SCALELAB_HUB_COMMITS"
"""Environment variable in which a workflow hands the commits that it found to its jobs, so that a
branch that moves meanwhile does not give them another plan."""


def identity(config: HubConfig, where: str) -> dict[str, str]:
    """`{"commit": ...}` of a dataset of the hub, `{"sha256": ...}` of a folder in its layout.

    A branch or tag is looked up on the hub; offline (HF_HUB_OFFLINE=1), or where the hub cannot be
    reached (which is said on stderr), in the cache that an earlier download filled.

    Raises:
        UserError: there is no such dataset or revision, it can be found nowhere, or a part of a
            split is to be streamed.
    """
    if config.streaming and "[" in config.split:
        raise UserError(
            f"{where}.split: found {config.split!r} with streaming: true, which reads whole "
            "splits; expected the name of one, or streaming: false"
        )
    folder = Path(config.name)
    if folder.is_dir():
        return {"sha256": folder_sha256(folder, where)}
    return {
        "commit": commit_of(config.name, config.revision, (f"{where}.name", f"{where}.revision"))
    }


def commit_of(name: str, revision: str, keys: tuple[str, str], kind: str = "dataset") -> str:
    """The commit that a revision of a repository of the hub stands for, found once a workflow.

    keys: those of the study that name and revision are of, to open sentences with. kind: dataset or
    model.

    Raises:
        UserError: as `identity`.
    """
    if re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    known: dict[str, str] = json.loads(os.environ.get(FOUND, "{}"))
    key = f"{name}@{revision}" if kind == "dataset" else f"{kind} {name}@{revision}"
    if key not in known:
        known[key] = _commit(name, revision, keys, kind)
        os.environ[FOUND] = json.dumps(known)
    return known[key]


def folder_sha256(folder: Path, where: str) -> str:
    """Digest of the names and contents of a folder's files, hidden ones left out."""
    total = hashlib.sha256()
    names = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [p for p in names if not any(x.startswith(".") for x in p.relative_to(folder).parts)]
    if not names:
        raise UserError(f"{where}.name: the folder {folder.as_posix()!r} holds no file")
    for path in names:
        total.update(path.relative_to(folder).as_posix().encode() + b"\0")
        total.update(remembered_sha256(path).encode())
    return total.hexdigest()


def cached(name: str, revision: str, kind: str = "dataset") -> Path | None:
    """The folder in the hub's cache that holds a revision; None if there is none."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        found = snapshot_download(name, repo_type=kind, revision=revision, local_files_only=True)
        return Path(found)
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        return None


def offline() -> bool:
    """Whether the environment forbids the network."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _commit(name: str, revision: str, keys: tuple[str, str], kind: str) -> str:
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import (
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    of_name, of_revision = keys
    reason = "HF_HUB_OFFLINE forbids the network"
    if not offline():
        try:
            found = HfApi().repo_info(name, revision=revision, repo_type=kind, timeout=20)
            return str(found.sha)
        except RevisionNotFoundError:
            raise UserError(f"{of_revision}: the {kind} {name!r} has no {revision!r}") from None
        except RepositoryNotFoundError:
            raise UserError(
                f"{of_name}: {name!r} is no folder here, and no {kind} of the hub that "
                "this user may read"
            ) from None
        except HFValidationError as error:
            raise UserError(
                f"{of_name}: no {kind} or folder {name!r} ({first_line(error)})"
            ) from None
        except Exception as error:  # whatever a network may do
            reason = f"the hub cannot be reached ({type(error).__name__})"
    folder = cached(name, revision, kind)
    if folder is None:
        option = " --repo-type dataset" if kind == "dataset" else ""
        raise UserError(
            f"{of_name}: {name!r} at {revision!r} is not in the cache "
            f"{constants.HF_HUB_CACHE}, and {reason}; download it where there is a network with "
            f"`hf download{option} {name}`, or name a local folder"
        )
    if not offline():
        print(
            f"{of_name.removesuffix('.name')}: {reason}: {revision!r} is taken for commit "
            f"{folder.name[:12]}, which is in the cache and may not be the newest",
            file=sys.stderr,
        )
    return folder.name


def has_file(name: str, commit: str, file: str) -> bool:
    """Whether a model of the hub has a file; offline, whether it is in the cache."""
    from huggingface_hub import HfApi, try_to_load_from_cache

    if isinstance(try_to_load_from_cache(name, file, revision=commit), str):
        return True
    if offline():
        return False
    try:
        return HfApi().file_exists(name, file, revision=commit)
    except Exception:  # whatever a network may do
        return False


def file_of(name: str, commit: str, file: str, where: str) -> Path:
    """A file of a model of the hub, from the cache or fetched into it.

    Raises:
        UserError: it is neither there nor to be had; `where` opens the sentence.
    """
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(name, file, revision=commit))
    except Exception as error:  # of the hub, of httpx, of the file system
        raise UserError(
            f"{where}: {file} of {name}@{commit[:12]} is not in the cache and cannot be fetched "
            f"({first_line(error)})"
        ) from None
