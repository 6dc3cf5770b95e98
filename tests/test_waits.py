"""No iteration reads what the device computed: on a GPU the host would wait for it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve
from torch.utils._python_dispatch import TorchDispatchMode

from sfddm.methods.job import distill
from sfddm.training import loop
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.teacher import train_teacher
from tests.parts import CPU, METHODS, PUBLISHED, ROLLOUT, SOURCES, of, random_split, tiny

READS = {
    "_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2", "bincount",
    "repeat_interleave.Tensor",
}  # fmt: skip
"""Operations that the host can't go on without: a number is read, or the size of a result."""
TRAINED = {
    **METHODS,
    "published": evolve(METHODS["sfddm"], **PUBLISHED),
    "mix": evolve(METHODS["sfddm"], sources=SOURCES["mix"]),
    "rollouts": evolve(METHODS["sfddm"], sources=(ROLLOUT,)),
    "bf16": evolve(METHODS["sfddm"], training=evolve(METHODS["sfddm"].training, precision="bf16")),
}


class Reads(TorchDispatchMode):
    """Notes what is read within the block."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        indices = args[1] if func.name().startswith("aten::index") and isinstance(args[1], (list, tuple)) else ()
        masks = any(index is not None and index.dtype == torch.bool for index in indices)
        name = func.name().removeprefix("aten::")
        if masks or name in READS or name.partition(".")[0] in READS:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What each iteration of the test reads."""
    found, iterate = list[list[str]](), loop.iterate

    def watched(*arguments: Any) -> loop.Losses:
        with Reads() as seen:
            losses = iterate(*arguments)
        found.append(seen.found)
        return losses

    monkeypatch.setattr(loop, "iterate", watched)
    return found


@pytest.mark.parametrize("name", TRAINED)
def test_no_iteration_of_a_students_training_reads_what_was_computed(
    tmp_path: Path, reads: list[list[str]], name: str
) -> None:
    distill(of(tmp_path, TRAINED[name]))
    assert reads == [[]] * 4


def test_no_iteration_of_a_teachers_training_reads_what_was_computed(tmp_path: Path, reads: list[list[str]]) -> None:
    described = tiny().teacher
    short = evolve(described, source=evolve(described.source, training=METHODS["sfddm"].training))
    with Curve(tmp_path / "curve", "teacher", 4, 64) as curve:
        train_teacher(short, evolve(random_split(), flip=True), CPU, curve, Checkpoints(tmp_path / "checkpoints", {}))
    assert reads == [[]] * 4
