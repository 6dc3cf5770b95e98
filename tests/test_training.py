"""The one training loop."""

import json
from pathlib import Path

import pytest
import torch
from attrs import evolve
from torch import nn

from sfddm.errors import UserError
from sfddm.randomness import epoch_indices
from sfddm.spec.training import Training
from sfddm.training.curve import Curve
from sfddm.training.loop import Losses, learning_rate_factor, train

SETTINGS = Training(
    iterations=200, batch_size=4, learning_rate=0.05, warmup=10, decay=0.5, clip_norm=1.0, average=0.5, precision="fp32"
)


def fit(path: Path, settings: Training, target: float = 3.0) -> nn.Linear:
    network = nn.Linear(1, 1, bias=False)
    network.weight.data[:] = 0
    with Curve(path, "test", settings.iterations, settings.batch_size) as curve:
        return train(network, lambda *_: _distance(network, target), settings, curve)


def _distance(network: nn.Linear, target: float) -> Losses:
    return {"loss": (network.weight - target).square().mean()}


def test_the_loop_finds_the_minimum_and_writes_its_curve(tmp_path: Path) -> None:
    network = fit(tmp_path / "curve", SETTINGS)
    assert float(network.weight) == pytest.approx(3, abs=0.05)
    points = [json.loads(line) for line in (tmp_path / "curve").read_text().splitlines()]
    assert [points[0]["step"], points[-1]["step"], len(points)] == [2, 200, 100]
    assert points[-1]["loss"] < 0.01 < points[0]["loss"]


def test_the_average_lags_behind_the_last_weights(tmp_path: Path) -> None:
    short = evolve(SETTINGS, iterations=5, warmup=0)
    last, averaged = (float(fit(tmp_path / "c", evolve(short, average=decay)).weight) for decay in (0.0, 0.9))
    assert 0 < averaged < 0.7 * last


def test_the_learning_rate_rises_stays_and_falls() -> None:
    factors = [learning_rate_factor(step, SETTINGS) for step in range(200)]
    assert factors[0] == pytest.approx(0.1) and factors[9:100] == [1.0] * 91
    assert factors[150] == pytest.approx(0.5) and factors[199] == pytest.approx(0.01)
    constant = evolve(SETTINGS, warmup=0, decay=0.0)
    assert {learning_rate_factor(step, constant) for step in range(200)} == {1.0}


def test_a_loss_that_breaks_stops_the_training_and_says_where(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"loss is not finite at iteration 1, learning rate 0\.01"):
        fit(tmp_path / "curve", SETTINGS, float("nan"))


def test_bf16_runs_the_forward_pass_in_bfloat16(tmp_path: Path) -> None:
    seen: set[torch.dtype] = set()
    network = nn.Linear(2, 2)

    def loss(*_: object) -> Losses:
        output = network(torch.ones(1, 2))
        seen.add(output.dtype)
        return {"loss": output.float().square().mean()}

    with Curve(tmp_path / "c", "test", 200, 4) as curve:
        train(network, loss, evolve(SETTINGS, precision="bf16"), curve)
    assert seen == {torch.bfloat16} and network.weight.dtype == torch.float32


def test_every_image_comes_once_an_epoch_whatever_the_batch_size() -> None:
    for size, batch in ((10, 3), (10, 25), (7, 7)):
        drawn = torch.cat([torch.from_numpy(epoch_indices(1, step, batch, size)) for step in range(size)])
        for epoch in drawn.split(size):
            assert len(set(epoch.tolist())) == len(epoch)
    assert (epoch_indices(1, 3, 4, 10) == epoch_indices(1, 3, 4, 10)).all()
    assert not (epoch_indices(1, 0, 10, 10) == epoch_indices(2, 0, 10, 10)).all()
