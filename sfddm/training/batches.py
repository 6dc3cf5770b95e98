"""What a batch is drawn from: images, levels, fresh noise. Each draw depends on seed and iteration alone.

Where several processes share a batch, each of them draws the whole of it and keeps its own rows, and those of one part
after another where a batch goes through the network in parts.
"""

import warnings
from collections.abc import Callable

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from sfddm.data.store import Split, require_classes
from sfddm.images import from_bytes
from sfddm.randomness import Purpose, epoch_indices, generator
from sfddm.runtime.memory import RESIDENT, free_memory
from sfddm.runtime.processes import own_rows, world_size

Draw = Callable[[int, int], Tensor]
"""How batches of images, or their classes, are drawn, from seed and step."""


@frozen
class Rows:
    """The rows of a batch, or of a source's part of it."""

    size: int
    """Those of all processes."""
    offset: int = 0
    """Where they begin in the batch."""

    @property
    def own(self) -> slice:
        """Those that this process takes now."""
        return own_rows(self.size, self.offset)

    def __len__(self) -> int:
        return len(range(self.size)[self.own])


def real_images(split: Split, rows: Rows, device: torch.device) -> Draw:
    """How batches of real images are drawn: from (seed, step) to the own rows, float32 [len(rows), C, H, W] in [-1, 1].

    All images come before any comes again. Where the data set says so, half of a batch is mirrored left to right.
    """
    images = stored(split.images, device)

    def draw(seed: int, step: int) -> Tensor:
        batch = take_images(images, seed, step, rows, device)
        if not split.flip:
            return batch
        mirrored = sent(generator(seed, Purpose.FLIP, step).random(rows.size)[rows.own] < 0.5, device)
        return torch.where(mirrored.view(-1, 1, 1, 1), batch.flip(-1), batch)

    return draw


def real_classes(split: Split, classes: int, rows: Rows, device: torch.device) -> Draw:
    """How the classes of `real_images` of the same rows are drawn, int64 [len(rows)].

    Raises:
        UserError: the images have none, or others than 0 to `classes` - 1, each of them.
    """
    labels = split.required_labels()
    require_classes(labels, classes)
    stored_labels = stored(labels, device)
    return lambda seed, step: moved(take(stored_labels, seed, step, rows), device)


def stored(array: np.ndarray, device: torch.device) -> Tensor:
    """A memory-mapped array that batches are taken from: on `device` if it fits."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # they are only read
        return resident(torch.from_numpy(array), device)


def resident(tensor: Tensor, device: torch.device) -> Tensor:
    """A memory-mapped tensor on `device` if it fits, else in memory, else as it is: read from the disk at need."""
    for place in dict.fromkeys((device.type, "cpu")):
        sharing = world_size() if place == "cpu" else 1
        if tensor.nbytes * sharing <= RESIDENT * free_memory(place):
            return tensor.clone() if place == "cpu" else tensor.to(device)
    return tensor


def gathered(tensor: Tensor, index: tuple[Tensor, ...], device: torch.device) -> Tensor:
    """tensor[index] on `device`, wherever the tensor is. A GPU is not waited for if the index is on the host."""
    return moved(tensor[tuple(moved(each, tensor.device) for each in index)], device)


def take(numbers: Tensor, seed: int, step: int, rows: Rows) -> Tensor:
    """The own rows [len(rows), ...] of batch `step`: all of `numbers` come before any comes again."""
    chosen = epoch_indices(seed, step, rows.size, len(numbers))[rows.own]
    return numbers[sent(chosen, numbers.device)]


def take_images(images: Tensor, seed: int, step: int, rows: Rows, device: torch.device) -> Tensor:
    """The own images of batch `step`, float32 [len(rows), C, H, W] in [-1, 1] on `device`, of `stored` ones."""
    return from_bytes(moved(take(images, seed, step, rows), device))


def integers(random: np.random.Generator, low: int, high: int, rows: Rows, device: torch.device) -> Tensor:
    """Random whole numbers of low..high - 1, int64 [len(rows)]."""
    return sent(random.integers(low, high, rows.size)[rows.own], device)


def noise_like(random: np.random.Generator, rows: Rows, like: Tensor) -> Tensor:
    """Standard normal numbers in the shape of `like` ([len(rows), ...]), float32.

    A GPU draws its own, which are others: one core of the host takes about as long as the GPU's whole iteration, in
    every process. Where it is to be deterministic they are those of every machine.
    """
    shape = (rows.size, *like.shape[1:])
    if like.device.type == "cuda" and not torch.are_deterministic_algorithms_enabled():
        seeded = torch.Generator(like.device).manual_seed(int(random.integers(2**63)))
        return torch.randn(shape, generator=seeded, device=like.device)[rows.own]
    return sent(random.standard_normal(shape, dtype=np.float32)[rows.own], like.device)


def sent(drawn: np.ndarray, device: torch.device) -> Tensor:
    """Numbers that were drawn, on `device`."""
    return moved(torch.from_numpy(drawn), device)


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on `device`; a GPU is not waited for, which a copy from common memory or of scattered rows would do."""
    if device.type == "cuda" and not tensor.is_cuda:
        return tensor.contiguous().pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
