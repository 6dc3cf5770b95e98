"""What the pipeline stores as JSON, read back as the class that it was written from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from sfddm.errors import damaged
from sfddm.runtime.files import read_json
from sfddm.spec.structure import StructureError, structure

T = TypeVar("T")


def read_stored(path: Path, cls: type[T]) -> T:
    """The instance of an attrs class that a JSON file describes: every field of its type and within its bounds.

    Raises:
        UserError: the file is missing or damaged, or describes something else.
    """
    return as_stored(path, read_json(path), cls)


def as_stored(path: Path, content: Any, cls: type[T]) -> T:
    """The same of what was read from `path` already.

    Raises:
        UserError: it describes something else.
    """
    try:
        return structure(content, cls)
    except StructureError as error:
        raise damaged(path, error) from None


def read_mapping(path: Path) -> Mapping[str, Any]:
    """A JSON file that holds a mapping.

    Raises:
        UserError: the file is missing or damaged, or holds something else.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise damaged(path, "expected a mapping")
    return content
