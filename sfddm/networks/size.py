"""How much a network computes relative to another."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from sfddm.networks.denoiser import class_argument, classes_of, make_network, unet_config
from sfddm.spec.parts import FromScratch, Start, TeachersNetwork


def share(start: Start | None, teacher: Mapping[str, Any]) -> float:
    """Multiply-adds of a student's forward pass relative to its teacher's, whose network's configuration is given.

    A student without a network of its own counts as its teacher, though a second output or time adds a little.
    """
    if not isinstance(start, FromScratch) or isinstance(start.network, TeachersNetwork):
        return 1.0
    shape = (teacher["in_channels"], *teacher["sample_size"])
    return _operations(unet_config(start.network, shape, classes_of(teacher)), shape) / _operations(teacher, shape)


def _operations(config: Mapping[str, Any], shape: tuple[int, int, int]) -> int:
    """The floating-point operations for one image, counted without computing anything."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        zero = torch.zeros(1, dtype=torch.int64)
        told = {class_argument(config): zero} if classes_of(config) else {}
        make_network(dict(config))(torch.empty(1, *shape), zero, **told)
    return int(counter.get_total_flops())
