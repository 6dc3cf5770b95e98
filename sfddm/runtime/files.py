"""The one writer of files: whatever appears under its final name is whole.

Everything is written beside its destination, flushed to disk and renamed. A process that dies on the way leaves only
a `.NAME.partial`, which the next writer of the same name clears away.
"""

import hashlib
import io
import json
import math
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from sfddm.errors import UserError, damaged, missing

LARGEST_JSON = 64 * 2**20
"""Bytes; the longest lists that are stored so are the levels of an index set."""


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to; it becomes `path` when the block ends well, and vanishes when it does not.

    Raises:
        UserError: the file could not be written (disk full, no permission); `path` is as it was.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)  # a link there would lead the writer elsewhere
        yield partial
        _flush(partial)
        partial.replace(path)
        _flush(path.parent)
    except OSError as error:
        raise could_not_write(path, error) from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it replaces `path` when the block ends well, and vanishes when it does not.

    Raises:
        UserError: the folder could not be written (disk full, no permission).
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        _clear(partial)
        partial.mkdir(parents=True)
        yield partial
        for written in (*sorted(partial.rglob("*")), partial):
            _flush(written)
        _clear(path)
        partial.replace(path)
        _flush(path.parent)
    except OSError as error:
        raise could_not_write(path, error) from error
    finally:
        _clear(partial)


def could_not_write(path: Path, error: OSError) -> UserError:
    """What to say of a full disk, a missing permission and the like."""
    reason = error.strerror or f"{error} (is the disk full?)"  # numpy and safetensors pass on no error number
    return UserError(f"could not write {path}: {reason}\nNothing was left half-written.")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys, so that equal content gives equal bytes. NaN is refused: it is not JSON."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n")


def to_yaml(content: Any, width: int = 120) -> str:
    """Plain data as YAML, short lists and mappings on a line."""
    yaml, buffer = YAML(), io.StringIO()
    yaml.default_flow_style = None
    yaml.width = width
    yaml.dump(content, buffer)
    return buffer.getvalue()


def read_json(path: Path) -> Any:
    """Read JSON that the pipeline wrote: numbers are finite, and no key comes twice.

    Raises:
        UserError: the file is missing, too large, or is not JSON.
    """
    try:
        return parse_json(read_bytes(path, LARGEST_JSON))
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, error) from None


def parse_json(content: bytes) -> Any:
    """Plain data of a JSON text.

    Raises:
        ValueError: no JSON, or not UTF-8; a number that is not finite, or a key that comes twice.
        RecursionError: too many lists in each other.
    """
    return json.loads(content.decode(), parse_constant=_finite, parse_float=_finite, object_pairs_hook=_once_each)


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a file of at most `most` bytes.

    Raises:
        OSError: it is missing, or no regular file.
        ValueError: it is larger.
    """
    check_regular(path)
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"larger than {most} bytes")
    return content


def check_regular(path: Path) -> None:
    """Raises: OSError: there is nothing, or a folder, a pipe or a device, from which reading might never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("a folder, a pipe or a device, not a file")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key comes twice")
    return content


def digest_file(path: Path, algorithm: str = "sha256") -> str:
    """Hash of a file's bytes, in hexadecimal; DVC's own is md5."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()
    except FileNotFoundError:
        raise missing(path) from None


def digest_folder(path: Path) -> str:
    """SHA-256 of the names and the bytes of all files of a folder, in hexadecimal."""
    if not path.is_dir():
        raise missing(path)
    return digest({file.relative_to(path).as_posix(): digest_file(file) for file in path.rglob("*") if file.is_file()})


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of plain data, in hexadecimal: of equal content, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _clear(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
