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
    if re.fullmatch(r"[0-9a-f]{40}", config.revision):
        return {"commit": config.revision}
    known: dict[str, str] = json.loads(os.environ.get(FOUND, "{}"))
    key = f"{config.name}@{config.revision}"
    if key not in known:
        known[key] = _commit(config, where)
        os.environ[FOUND] = json.dumps(known)
    return {"commit": known[key]}


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


def cached(name: str, revision: str) -> Path | None:
    """The folder in the hub's cache that holds a revision of a dataset; None if there is none."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        found = snapshot_download(
            name, repo_type="dataset", revision=revision, local_files_only=True
        )
        return Path(found)
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        return None


def offline() -> bool:
    """Whether the environment forbids the network."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _commit(config: HubConfig, where: str) -> str:
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import (
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    reason = "HF_HUB_OFFLINE forbids the network"
    if not offline():
        try:
            found = HfApi().dataset_info(config.name, revision=config.revision, timeout=20)
            return str(found.sha)
        except RevisionNotFoundError:
            raise UserError(
                f"{where}.revision: the dataset {config.name!r} has no {config.revision!r}"
            ) from None
        except RepositoryNotFoundError:
            raise UserError(
                f"{where}.name: {config.name!r} is no folder here, and no dataset of the hub that "
                "this user may read"
            ) from None
        except HFValidationError as error:
            raise UserError(
                f"{where}.name: no dataset or folder {config.name!r} ({first_line(error)})"
            ) from None
        except Exception as error:  # whatever a network may do
            reason = f"the hub cannot be reached ({type(error).__name__})"
    folder = cached(config.name, config.revision)
    if folder is None:
        raise UserError(
            f"{where}.name: {config.name!r} at {config.revision!r} is not in the cache "
            f"{constants.HF_HUB_CACHE}, and {reason}; download it where there is a network with "
            f"`hf download --repo-type dataset {config.name}`, or name a local folder"
        )
    if not offline():
        print(
            f"{where}: {reason}: {config.revision!r} is taken for commit {folder.name[:12]}, which "
            "is in the cache and may not be the newest",
            file=sys.stderr,
        )
    return folder.name
