"""Tensors to and from files: the one loader.

Ours are safetensors. What others publish as a pickle is read only where its content is pinned (by a hash, or by a
commit), with a reader that builds tensors and plain data and nothing else.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from operator import index
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sfddm.errors import UserError, missing
from sfddm.runtime.files import check_regular, parse_json

MOST_HEADER = 2**20
"""Bytes of a file's header; an entry takes about a hundred, and the largest networks have a few thousand entries."""
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
"""The types of numbers that are read."""
MAKE_AGAIN = "Delete it and run `dvc checkout` or `dvc repro`"
"""What to do with an output of the pipeline that is damaged."""
NAMES = {dtype: name for name, dtype in DTYPES.items()}
PIECE = 2**24
"""Numbers."""
Layout = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]
"""Type and shape of named tensors."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors into a folder that is being made."""
    stored = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    try:
        save_file(stored, path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(str(error)) from error  # a full disk is the same error whoever writes


@contextmanager
def filled_in(path: Path, layout: Layout) -> Iterator[Callable[[str, int, Tensor], None]]:
    """Write a file of named tensors [K, N, ...] piece by piece, so that they need not fit into memory.

    Yields a function of a tensor's name, a position n and a piece [K, M, ...], which becomes [:, n : n + M].
    """
    entries, starts, end = {}, {}, 0
    for name, (dtype, shape) in layout.items():
        starts[name], end = end, end + dtype.itemsize * prod(shape)
        entries[name] = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [starts[name], end]}
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)

        def fill(name: str, position: int, piece: Tensor) -> None:
            row = piece[0, :1].nbytes
            for k, part in enumerate(piece):
                file.seek(8 + len(header) + starts[name] + (k * layout[name][1][1] + position) * row)
                file.write(part.contiguous().numpy().tobytes())

        yield fill


def write_weights(path: Path, network: torch.nn.Module) -> None:
    """Write a network's weights into a folder that is being made."""
    write_tensors(path, network.state_dict())


def read_tensors(path: Path, expected: Layout | None = None, remedy: str = MAKE_AGAIN) -> dict[str, Tensor]:
    """Read named tensors, all of them finite.

    Args:
        path: a safetensors file.
        expected: what has to be in it, where that is known: it is compared before any memory is filled.
        remedy: what to do with a file that is damaged.

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
            f"{path} can't be read as safetensors ({error}).\n{remedy}; other formats (.pt, .pkl) are never loaded."
        ) from None
    if not all(_finite(tensor) for tensor in tensors.values()):
        raise UserError(f"{path}: some of its numbers are not finite. {remedy}.")
    return tensors


def read_pickled(path: Path, sha256: str | None) -> dict[str, Any]:
    """The named tensors, mappings and plain values of a file in PyTorch's own format.

    Args:
        path: the file.
        sha256: of its content; None where something else pins it. Nothing of a file with another hash is read.

    Raises:
        UserError: the file can't be read, has another hash, or holds more than tensors and plain data.
    """
    try:
        check_regular(path)
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror or error}.") from None
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256:
        raise UserError(
            f"{path} has the SHA-256 {found}, and the spec expects {sha256}.\n"
            "Nothing of it was loaded. Give the file that the spec means, or the spec the hash of the file you trust."
        )
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch each have errors of their own
        raise UserError(f"{path} holds more than tensors, or is damaged: {str(error).splitlines()[0]}") from None
    if not isinstance(state, dict):
        raise UserError(f"{path} holds no named tensors: expected a network's state dict.")
    return state


def put_weights(network: torch.nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put tensors that were read from `path` into `network`, as float32; it gets its memory when they are found to fit.

    Raises:
        UserError: the tensors don't fit the network, or are not finite.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if wanted != found:
        name = min(name for name, _ in wanted.items() ^ found.items())
        have, want = (list(shapes[name]) if name in shapes else "not there" for shapes in (found, wanted))
        raise UserError(f"{path}: its weights are of another network: {name!r} is {have}, expected {want}.")
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise UserError(f"{path}: some of its numbers are not finite.")
    network.to_empty(device="cpu").load_state_dict(tensors)


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


def _finite(tensor: Tensor) -> bool:
    """Whether all numbers are, looked at a piece at a time: a file may be larger than the memory."""
    return all(bool(piece.isfinite().all()) for piece in torch.split(tensor.reshape(-1), PIECE))


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
