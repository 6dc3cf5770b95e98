"""Dropout: drawn anew in each iteration, the same however it was reached, and left behind by copies."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from attrs import evolve
from torch import Tensor, nn

from sfddm.networks.denoiser import Denoiser
from sfddm.networks.student import first_student
from sfddm.spec.teacher import Teacher, Trained, UNet2D
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.loop import Losses, begin, iterate
from sfddm.training.teacher import train_teacher
from tests.mortal import Killed, Mortal
from tests.parts import COPY, CPU, FEW, SCRATCH, random_split, tiny, untrained_teacher

ITERATIONS = 3


def with_dropout(share: float) -> Teacher:
    teacher = tiny().teacher
    assert isinstance(teacher.source, Trained)
    network, training = teacher.source.network, evolve(FEW, iterations=ITERATIONS, batch_size=8)
    return evolve(teacher, source=evolve(teacher.source, network=evolve(network, dropout=share), training=training))


def trained(folder: Path, share: float, checkpoints: Callable[..., Checkpoints] = Checkpoints) -> Denoiser:
    with Curve(folder / "curve.jsonl", "teacher", ITERATIONS, 8) as curve:
        kept = checkpoints(folder / "checkpoints", {})
        return train_teacher(with_dropout(share), random_split(), CPU, curve, kept).network


def equal(one: Denoiser, other: Denoiser) -> bool:
    own, others = one.network.state_dict(), other.network.state_dict()
    return all(torch.equal(own[name], others[name]) for name in own)


def test_a_training_with_dropout_that_is_killed_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SFDDM_CHECKPOINT_SECONDS", "0")
    for name in ("whole", "killed", "without"):
        (tmp_path / name).mkdir()
    undisturbed, kills = trained(tmp_path / "whole", 0.5), 0
    torch.manual_seed(77)
    while kills <= ITERATIONS:
        try:
            survived = trained(tmp_path / "killed", 0.5, Mortal)
            break
        except Killed:
            kills += 1
    assert kills == ITERATIONS and equal(survived, undisturbed)
    assert not equal(trained(tmp_path / "without", 0.0), undisturbed)


def test_every_seed_iteration_and_part_of_its_rows_drops_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    network, seen = nn.Sequential(nn.Linear(1, 64), nn.Dropout(0.5)), list[Tensor]()
    settings = evolve(FEW, batch_size=2, learning_rate=1e-9)

    def loss(_: int, __: nn.Module) -> Losses:
        output = network(torch.ones(1, 1))
        seen.append(output.detach() != 0)
        return {"loss": output.square().mean()}

    monkeypatch.setenv("SFDDM_PARTS", "2")
    for seed, step in ((0, 0), (0, 1), (5, 0), (0, 0)):
        iterate(begin(network, settings, seed=seed), loss, step, 1e-9, settings)
    *all_different, again, other_again = seen
    assert torch.equal(all_different[0], again) and torch.equal(all_different[1], other_again)
    assert len({tuple(each.flatten().tolist()) for each in all_different}) == 6


def test_students_drop_only_what_their_own_network_says() -> None:
    source = with_dropout(0.5).source
    assert isinstance(source, Trained)
    teacher, network = untrained_teacher(network=source.network), source.network
    assert teacher.config["dropout"] == 0.5
    x, level = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([16, 64])
    copy = first_student(teacher, COPY, 0).train()
    assert copy.config["dropout"] == 0 and torch.equal(copy(x, level).output, teacher(x, level).output)
    assert first_student(teacher, SCRATCH, 0).config["dropout"] == 0
    assert isinstance(network, UNet2D)
    own = first_student(untrained_teacher(), evolve(SCRATCH, network=network), 0)
    assert own.config["dropout"] == 0.5
