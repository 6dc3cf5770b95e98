"""The one training loop."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve
from torch import Tensor, nn

from sfddm.errors import UserError
from sfddm.randomness import epoch_indices
from sfddm.runtime.memory import memory_errors
from sfddm.spec.training import Training
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.guard import Guard
from sfddm.training.loop import Losses, learning_rate_factor, train
from tests.mortal import Killed

SETTINGS = Training(
    iterations=200,
    batch_size=4,
    learning_rate=0.05,
    warmup=10,
    decay=0.5,
    clip_norm=1.0,
    average=0.5,
    precision="fp32",
    memory_format="contiguous",
    compile=False,
)


def fit(path: Path, settings: Training, loss: Callable[[int, nn.Linear], Tensor] | None = None) -> nn.Linear:
    """Train one weight, from 0, to be 3, or on another loss; `path` is the curve."""
    network = nn.Linear(1, 1, bias=False)
    network.weight.data[:] = 0

    def named(step: int, _: nn.Linear) -> Losses:
        return {"loss": loss(step, network) if loss else (network.weight - 3).square().mean()}

    with Curve(path, "test", settings.iterations, settings.batch_size) as curve:
        return train(network, named, settings, curve, Checkpoints(path.parent / "checkpoints", {}), seed=0).network


def test_the_loop_finds_the_minimum_and_writes_its_curve(tmp_path: Path) -> None:
    network = fit(tmp_path / "curve", SETTINGS)
    assert float(network.weight) == pytest.approx(3, abs=0.05)
    points = [json.loads(line) for line in (tmp_path / "curve").read_text().splitlines()]
    assert [points[0]["step"], points[-1]["step"], len(points)] == [2, 200, 100]
    assert points[-1]["loss"] < 0.01 < points[0]["loss"]


def test_the_average_lags_behind_the_last_weights(tmp_path: Path) -> None:
    short = evolve(SETTINGS, iterations=5, warmup=0)
    last, averaged = (float(fit(tmp_path / f"{decay}/c", evolve(short, average=decay)).weight) for decay in (0.0, 0.9))
    assert 0 < averaged < 0.7 * last


def test_the_learning_rate_rises_stays_and_falls() -> None:
    factors = [learning_rate_factor(step, SETTINGS) for step in range(200)]
    assert factors[0] == pytest.approx(0.1) and factors[9:100] == [1.0] * 91
    assert factors[150] == pytest.approx(0.5) and factors[199] == pytest.approx(0.01)
    constant = evolve(SETTINGS, warmup=0, decay=0.0)
    assert {learning_rate_factor(step, constant) for step in range(200)} == {1.0}


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (float("nan"), r"the loss is not finite \(nan\) at iteration 6, learning rate 0\.03"),
        (float("inf"), r"the loss is not finite \(inf\) at iteration 6, learning rate 0\.03"),
        (1e6, r"the loss exploded from 8\.\d+ to 8\.\d+e\+06 at iteration 6, learning rate 0\.03"),
    ],
)
def test_a_loss_that_breaks_stops_the_training_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float, words: str
) -> None:
    monkeypatch.setenv("SFDDM_CHECKPOINT_SECONDS", "0")
    with pytest.raises(UserError, match=words) as stopped:
        fit(
            tmp_path / "curve",
            SETTINGS,
            lambda step, of: (of.weight - 3).square().mean() * (factor if step == 5 else 1),
        )
    assert "000000005; a changed spec starts anew" in str(stopped.value)


def test_after_a_kill_a_loss_explodes_from_what_it_was_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFDDM_CHECKPOINT_SECONDS", "0")

    def loss(step: int, of: nn.Linear) -> Tensor:
        if step == 6 and not killed:
            raise Killed
        return 2 + 0 * of.weight.sum() if step < 6 else 3e4 + 0 * of.weight.sum()

    killed = False
    with pytest.raises(Killed):
        fit(tmp_path / "curve", SETTINGS, loss)
    killed = True
    with pytest.raises(UserError, match=r"the loss exploded from 2 to 3e\+04 at iteration 7,"):
        fit(tmp_path / "curve", SETTINGS, loss)


def test_weights_that_break_are_never_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFDDM_CHECKPOINT_SECONDS", "0")
    with pytest.raises(UserError, match=r"(?s)the weights weight are not finite at iteration 1.*No checkpoint yet"):
        fit(tmp_path / "curve", SETTINGS, lambda _, of: of.weight.abs().sqrt().mean())  # its gradient at 0 is infinite
    assert not list(tmp_path.glob("checkpoints/*/*"))


def test_losses_wait_for_each_other_on_a_gpu(tmp_path: Path) -> None:
    guard = Guard(torch.device("cuda"), Checkpoints(tmp_path, {}))
    guard.add(0, 0.1, {"loss": torch.tensor(float("nan"))})
    with pytest.raises(UserError, match="at iteration 1,"):
        for step in range(1, 25):
            guard.add(step, 0.1, {"loss": torch.tensor(1.0)})
    assert step == 24


def test_too_little_memory_says_what_was_needed_and_what_to_lower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SFDDM_CHECKPOINT_SECONDS", "0")

    def loss(step: int, of: nn.Linear) -> Tensor:
        return of.weight.mean() + (torch.ones(2**50).mean() if step == 2 else 0)

    with pytest.raises(
        UserError, match=r"out of memory: 4503599627370496 bytes were needed at once; this process held"
    ) as e:
        fit(tmp_path / "curve", SETTINGS, loss)
    assert "lower batch_size (4)" in str(e.value) and "000000002 is kept" in str(e.value)
    with pytest.raises(UserError, match=r"out of memory: 8\.00 PiB were needed"), memory_errors(lambda: "x"):
        np.zeros(2**50)
    with pytest.raises(RuntimeError, match="other"), memory_errors(lambda: "x"):
        raise RuntimeError("other")


def test_bf16_runs_the_forward_pass_in_bfloat16(tmp_path: Path) -> None:
    seen: set[torch.dtype] = set()
    network = nn.Linear(2, 2)

    def loss(*_: object) -> Losses:
        output = network(torch.ones(1, 2))
        seen.add(output.dtype)
        return {"loss": output.float().square().mean()}

    default = torch.get_autocast_dtype("cpu")
    torch.set_autocast_dtype("cpu", torch.float16)  # as on GPUs
    try:
        with Curve(tmp_path / "c", "test", 200, 4) as curve:
            train(network, loss, evolve(SETTINGS, precision="bf16"), curve, Checkpoints(tmp_path / "k", {}), seed=0)
    finally:
        torch.set_autocast_dtype("cpu", default)
    assert seen == {torch.bfloat16} and network.weight.dtype == torch.float32


def test_every_image_comes_once_an_epoch_whatever_the_batch_size() -> None:
    for size, batch in ((10, 3), (10, 25), (7, 7)):
        drawn = torch.cat([torch.from_numpy(epoch_indices(1, step, batch, size)) for step in range(size)])
        for epoch in drawn.split(size):
            assert len(set(epoch.tolist())) == len(epoch)
    assert (epoch_indices(1, 3, 4, 10) == epoch_indices(1, 3, 4, 10)).all()
    assert not (epoch_indices(1, 0, 10, 10) == epoch_indices(2, 0, 10, 10)).all()
