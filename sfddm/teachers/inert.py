"""A pickle of whole networks, read without running anything in it.

Such a file has whole objects, and may have the source of their classes, which its own reader runs. This one follows the
pickle's instructions with objects that can do nothing in place of all that it names; only tensors have a meaning.
"""

import io
import math
import pickle
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sfddm.errors import UserError
from sfddm.runtime.files import check_regular


def read_inert(path: Path) -> Any:
    """What a pickle holds: plain values, and `Inert` in place of every object.

    Raises:
        UserError: it can't be read.
    """
    try:
        check_regular(path)
        with path.open("rb") as file:
            return _Reader(file).load()
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror or error}.") from None
    except Exception as error:  # pickles fail in any way
        raise UserError(f"{path} can't be read as a pickle of tensors ({error}).") from None


class Inert(dict[Any, Any]):
    """Stands for an object of any class: takes what a pickle does to it, and does nothing."""

    name: str = ""
    state: Mapping[str, Any] = {}

    def __new__(cls, *_: Any, **__: Any) -> "Inert":
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, Mapping) else {}

    def append(self, _: Any) -> None:
        """For lists."""

    def extend(self, _: Any) -> None:
        """For lists."""

    __hash__ = object.__hash__  # type: ignore[assignment]


class Numbers(Inert):
    """Stands for a tensor, or for its storage, which is one of one dimension."""

    tensor: Tensor


def _holding(tensor: Tensor) -> Numbers:
    held = Numbers()
    held.tensor = tensor
    return held


def _persistent(meta: Any) -> Inert:
    """An object whose class's source is in the file: the source is not even looked at."""
    made = Inert()
    name = meta["class_name"]
    made.name = name if isinstance(name, str) else ""
    made.__setstate__(meta["state"])
    return made


def _storage(data: bytes) -> Numbers:
    kept = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    flat = torch.empty(0, dtype=kept.dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TypedStorage is deprecated")  # the file has no other
        flat.set_(kept.untyped(), 0, (len(kept),), (1,))
    return _holding(flat)


def _tensor(storage: Numbers, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Numbers:
    if math.prod(size) > storage.tensor.numel():
        raise ValueError("a tensor is larger than what is stored of it")
    return _holding(storage.tensor.as_strided(size, stride, offset).clone())


def _parameter(data: Numbers, *_: Any) -> Numbers:
    return data


class _Call:
    """A function of ours that a pickle can call and not change."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Inert]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Inert:
        return self._function(*arguments)

    def __setstate__(self, _: Any) -> None:
        """Takes no state."""


KNOWN = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _Call(_persistent),
    ("torch.storage", "_load_from_bytes"): _Call(_storage),
    ("torch._utils", "_rebuild_tensor_v2"): _Call(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Call(_parameter),
}
"""What has a meaning here; all else that a pickle names is inert."""


class _Reader(pickle.Unpickler):
    """Nothing that a pickle names is imported."""

    def find_class(self, module: str, name: str) -> Any:
        """A function of ours, or a class whose objects do nothing."""
        return KNOWN.get((module, name), Inert)
