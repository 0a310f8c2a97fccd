"""Files in object storage and on HDFS, through fsspec, which is imported when it is used."""

import importlib.util
import os
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from scalelab.errors import UserError, first_line, redacted

MILLISECONDS = 1e11
"""Times above this one, of WebHDFS, count milliseconds."""
CHANGED = ("mtime", "LastModified", "updated", "modified", "last_modified", "modificationTime")
"""What packages for stores call the time of change."""
ARROW = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
"""Protocols that pyarrow, which is always there, reads where fsspec's own package is missing."""


def is_remote(path: str) -> bool:
    """Whether a path is an address such as s3://bucket/key."""
    return "://" in path


def filesystem(address: str) -> tuple[Any, str]:
    """(fsspec file system, path in it) of an address.

    Credentials and endpoints are those of the store's own tools: for s3:// the environment
    (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, AWS_DEFAULT_REGION) or ~/.aws.

    Raises:
        UserError: a protocol is unknown, or its package is missing; or the address holds a password
            or a signature, which would stand in every file that says what a corpus was made from.
    """
    import fsspec

    if redacted(address) != address:
        raise UserError(
            f"{address}: found a password or a signature in an address, which results would show; "
            "give it where the store's own tools look for it (environment, ~/.aws, ~/.netrc)"
        )
    protocol = address.partition("://")[0]
    try:
        if protocol in ARROW and importlib.util.find_spec(ARROW[protocol]) is None:
            return _arrow(protocol), address.partition("://")[2]
        made, path = fsspec.core.url_to_fs(address)
        return made, str(path)
    except (ValueError, ImportError) as error:
        reason = first_line(error)
        raise UserError(f"{address}: {protocol}:// cannot be opened here: {reason}") from None
    except Exception as error:
        raise UserError(f"{address}: cannot be reached: {first_line(error)}") from None


def _arrow(protocol: str) -> Any:
    from fsspec.implementations.arrow import ArrowFSWrapper
    from pyarrow import fs

    return ArrowFSWrapper(_s3(fs) if ARROW[protocol] == "s3fs" else fs.GcsFileSystem())


def _s3(fs: Any) -> Any:
    """pyarrow takes keys from the environment by itself, but none of these."""
    setting = os.environ.get
    endpoint = urlsplit(setting("AWS_ENDPOINT_URL_S3") or setting("AWS_ENDPOINT_URL") or "")
    where = {"endpoint_override": endpoint.netloc, "scheme": endpoint.scheme}
    attempts = int(setting("AWS_MAX_ATTEMPTS") or 3)
    return fs.S3FileSystem(
        region=setting("AWS_REGION") or setting("AWS_DEFAULT_REGION"),
        connect_timeout=20,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=attempts),
        **(where if endpoint.netloc else {}),
    )


def describe(address: str, where: str) -> list[dict[str, Any]]:
    """`{"name", "bytes", "version"}` of the files that an address or its glob stands for."""
    files, path = filesystem(address)
    try:
        names = files.glob(path) if "*" in path or "?" in path or "[" in path else [path]
        infos = {name: files.info(name) for name in names}
    except FileNotFoundError:
        raise UserError(f"{where}: {address!r}: no such file") from None
    except Exception as error:
        raise UserError(f"{address}: cannot be read: {first_line(error)}") from None
    rows = [
        _describe(_address(address, path, name), info)
        for name, info in infos.items()
        if info.get("type") != "directory"
    ]
    if not rows:
        raise UserError(f"{where}: {address!r} matches no file")
    return rows


def _address(asked: str, path: str, name: str) -> str:
    """The address of a file that was found: with the host of what was asked for, if it has one."""
    if "://" in name:
        return name
    before = asked.removesuffix(path)
    return (before if before != asked else asked.partition("://")[0] + "://") + name


def version(name: str) -> str:
    """What tells the present content of a remote file apart from another one."""
    files, path = filesystem(name)
    return _version(files.info(path))


def _describe(address: str, info: dict[str, Any]) -> dict[str, Any]:
    if not info["size"]:
        raise UserError(f"{address}: is empty, expected text")
    return {"name": address, "bytes": int(info["size"]), "version": _version(info)}


def _version(info: dict[str, Any]) -> str:
    """The time of change where there is one, which all packages for a store give alike."""
    for key in CHANGED:
        if info.get(key) is not None:
            return f"changed {_seconds(info[key])}, {info.get('size')} bytes"
    for key in ("ETag", "etag", "md5Hash", "generation"):
        if info.get(key) is not None:
            return f"{key} {info[key]}".replace('"', "")
    return f"{info.get('size')} bytes"


def _seconds(time: Any) -> str:
    """A time of change as UTC in whole seconds: stores differ in what stands behind them."""
    if isinstance(time, str):
        try:
            time = datetime.fromisoformat(time)
        except ValueError:
            return time
    if isinstance(time, datetime):
        time = time.replace(tzinfo=time.tzinfo or UTC).timestamp()
    seconds = time / 1000 if time > MILLISECONDS else time
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()
