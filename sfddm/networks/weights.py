"""Tensors to and from safetensors files: the one loader. Nothing is ever unpickled."""

from collections.abc import Mapping
from operator import index
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sfddm.errors import UserError, missing
from sfddm.files import check_regular, parse_json

MOST_HEADER = 2**20
"""Bytes of a file's header; an entry takes about a hundred, and the largest networks have a few thousand entries."""
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
"""The types of numbers that are read."""
Layout = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]
"""Type and shape of named tensors."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors into a folder that is being made."""
    stored = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    try:
        save_file(stored, path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(str(error)) from error  # a full disk is the same error whoever writes


def write_weights(path: Path, network: torch.nn.Module) -> None:
    """Write a network's weights into a folder that is being made."""
    write_tensors(path, network.state_dict())


def read_tensors(path: Path, expected: Layout | None = None) -> dict[str, Tensor]:
    """Read named tensors, all of them finite.

    Args:
        path: a safetensors file.
        expected: what has to be in it, where that is known: it is compared before any memory is filled.

    Raises:
        UserError: the file is missing, damaged or no safetensors, or holds NaN, infinity or what isn't expected.
    """
    try:
        check_regular(path)
        found = _read_header(path)
        if expected is not None and found != expected:
            raise UserError(_difference(path, expected, found))
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in found}
    except FileNotFoundError:
        raise missing(path) from None
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path} can't be read as safetensors ({error}).\n"
            "Delete it and run `dvc checkout`; other formats (.pt, .pkl) are never loaded."
        ) from None
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise UserError(f"{path}: some of its numbers are not finite. Delete it and run `dvc repro`.")
    return tensors


def load_weights(network: torch.nn.Module, path: Path) -> None:
    """Put the weights of a safetensors file into `network`, which gets its memory only when they are found to fit.

    Args:
        network: on torch's meta device, or with weights that are of no use.
        path: the file.

    Raises:
        UserError: as `read_tensors`, or the tensors don't fit the network.
    """
    expected = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in network.state_dict().items()}
    tensors = read_tensors(path, expected)
    network.to_empty(device="cpu").load_state_dict(tensors)


def _read_header(path: Path) -> Layout:
    """What a file says that it holds, unchecked but for what the library lets pass.

    Raises:
        ValueError: the header is longer than any of ours, has a name twice, of which the library would keep one, or
            describes other than tensors of the types that are read.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MOST_HEADER:
            raise ValueError(f"a header of {length} bytes")
        header = parse_json(file.read(length))
    try:
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        return {name: (DTYPES[entry["dtype"]], tuple(map(index, entry["shape"]))) for name, entry in entries.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a header that describes no tensors of ours: {error!r}") from None


def _difference(path: Path, expected: Layout, found: Layout) -> str:
    name = min(name for name, _ in expected.items() ^ found.items())
    have, want = (_described(layout.get(name)) for layout in (found, expected))
    return f"{path}: the weights don't fit what is described beside them: {name!r} is {have}, expected {want}."


def _described(layout: tuple[torch.dtype, tuple[int, ...]] | None) -> str:
    return f"{str(layout[0]).removeprefix('torch.')} {list(layout[1])}" if layout else "no such tensor"
