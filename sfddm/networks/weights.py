"""Tensors to and from files: the one loader.

Ours are safetensors. What others publish as a pickle of tensors is read only where its content is pinned (by a hash,
or by a commit), with a reader that builds tensors and plain data and nothing else. Pickles of whole
networks have `sfddm.teachers.inert`.
"""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sfddm.errors import UserError, missing
from sfddm.runtime.files import check_regular

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
"""The types of numbers that are read."""
MAKE_AGAIN = "Delete it and run `dvc checkout` or `dvc repro`"
"""What to do with a damaged output of the pipeline."""
Layout = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]
"""Type and shape of named tensors."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str] | None = None) -> None:
    """Write named tensors, and what the file is to say about them, into a folder that is being made."""
    stored = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    try:
        save_file(stored, path, metadata={"format": "pt", **(about or {})})
    except SafetensorError as error:
        raise OSError(str(error)) from error  # a full disk is the same error whoever writes


def write_weights(path: Path, network: torch.nn.Module) -> None:
    """Write a network's weights into a folder that is being made."""
    write_tensors(path, network.state_dict())


def read_tensors(path: Path, expected: Layout | None = None, remedy: str = MAKE_AGAIN) -> dict[str, Tensor]:
    """Read named tensors, all of them finite.

    Args:
        path: a safetensors file.
        expected: what it has to have, where that is known; compared before anything is read into memory.
        remedy: what to do with a damaged file.

    Raises:
        UserError: the file is missing, damaged or not safetensors, or has NaN, infinity or what isn't expected.
    """
    try:
        check_regular(path)
        with safe_open(path, framework="pt") as file:
            parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            found = {name: (DTYPES[part.get_dtype()], tuple(part.get_shape())) for name, part in parts.items()}
            if expected is not None:
                _require(path, expected, found)
            tensors = {name: file.get_tensor(name) for name in found}
    except FileNotFoundError:
        raise missing(path) from None
    except (SafetensorError, OSError, RuntimeError, KeyError) as error:
        raise UserError(
            f"{path} can't be read as safetensors ({error}).\n{remedy}; other formats (.pt, .pkl) are never loaded."
        ) from None
    _require_finite(path, tensors, remedy)
    return tensors


def read_pickled(path: Path, sha256: str | None) -> dict[str, Any]:
    """The named tensors, mappings and plain values of a file in PyTorch's own format.

    Args:
        path: the file.
        sha256: of its content; None where something else pins it. Nothing of a file with another hash is read.

    Raises:
        UserError: the file can't be read, has another hash, or contains more than tensors and plain data.
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
        raise UserError(f"{path} contains more than tensors, or is damaged: {str(error).splitlines()[0]}") from None
    if not isinstance(state, dict):
        raise UserError(f"{path} has no named tensors: expected a network's state dict.")
    return state


def put_weights(network: torch.nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put tensors that were read from `path` into `network`, as float32; it gets its memory when they are found to fit.

    Raises:
        UserError: the tensors don't fit the network, or are not finite.
    """
    expected = _layout(network)
    types = {name: expected[name][0] if name in expected else tensor.dtype for name, tensor in tensors.items()}
    _require(path, expected, {name: (types[name], tuple(tensor.shape)) for name, tensor in tensors.items()})
    _require_finite(path, tensors, "Replace it")
    _put(network, tensors)


def load_weights(network: torch.nn.Module, path: Path) -> None:
    """Put the weights of a safetensors file into `network`, which gets its memory only when they are found to fit.

    Args:
        network: on torch's meta device, or with weights that are of no use.
        path: the file.

    Raises:
        UserError: as `read_tensors`, or the tensors don't fit the network.
    """
    _put(network, read_tensors(path, _layout(network)))


def _put(network: torch.nn.Module, tensors: Mapping[str, Tensor]) -> None:
    # Not `to_empty`: from the meta device it imports sympy, which takes a second of every stage. A copy has memory of
    # its own, aligned and in the order in which torch would have made it, and not that of a file.
    own, dense = network.state_dict(), torch.contiguous_format
    copies = {name: tensor.to(own[name].dtype, copy=True, memory_format=dense) for name, tensor in tensors.items()}
    network.load_state_dict(copies, assign=True)


def _layout(network: torch.nn.Module) -> Layout:
    return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in network.state_dict().items()}


def _require_finite(path: Path, tensors: Mapping[str, Tensor], remedy: str) -> None:
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise UserError(f"{path}: some of its numbers are not finite. {remedy}.")


def _require(path: Path, expected: Layout, found: Layout) -> None:
    if found != expected:
        name = min(name for name, _ in expected.items() ^ found.items())
        have, want = (_described(layout.get(name)) for layout in (found, expected))
        raise UserError(f"{path}: its weights don't fit the network: {name!r} is {have}, expected {want}.")


def _described(layout: tuple[torch.dtype, tuple[int, ...]] | None) -> str:
    return f"{str(layout[0]).removeprefix('torch.')} {list(layout[1])}" if layout else "no such tensor"
