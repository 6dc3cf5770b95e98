"""Tensors to and from safetensors files: the one loader. Nothing is ever unpickled."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sfddm.errors import UserError, missing


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


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read named tensors, all of them finite.

    Raises:
        UserError: the file is missing, damaged or no safetensors, or holds NaN or infinity.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except FileNotFoundError:
        raise missing(path) from None
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"{path} can't be read as safetensors ({error}).\n"
            "Delete it and run `dvc checkout`; other formats (.pt, .pkl) are never loaded."
        ) from None
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise UserError(f"{path}: some of its numbers are not finite. Delete it and run `dvc repro`.")
    return tensors


def load_weights(network: torch.nn.Module, path: Path) -> None:
    """Put the weights of a safetensors file into `network`.

    Raises:
        UserError: as `read_tensors`, or the tensors don't fit the network.
    """
    tensors = read_tensors(path)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if expected != found:
        name = min(name for name, _ in expected.items() ^ found.items())
        raise UserError(
            f"{path}: the weights don't fit the network that is described beside them: {name} is "
            f"{found.get(name, 'missing')}, expected {expected.get(name, 'no such tensor')}."
        )
    network.load_state_dict(tensors)
