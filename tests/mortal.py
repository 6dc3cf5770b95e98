"""Trainings that are killed by their own checkpoints."""

from collections.abc import Mapping

from torch import Tensor

from sfddm.training.checkpoints import Checkpoints


class Killed(BaseException):
    """As sudden as kill -9: nothing in the library catches it."""


class Mortal(Checkpoints):
    """Checkpoints that kill the training as soon as they have written one."""

    def write(self, step: int, tensors: Mapping[str, Tensor], curve: str) -> None:
        super().write(step, tensors, curve)
        raise Killed

    def write_result(self, end: int, tensors: Mapping[str, Tensor], curve: str) -> None:
        super().write_result(end, tensors, curve)
        raise Killed
