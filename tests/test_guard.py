"""A training that goes bad stops: which losses count as exploded, when they are looked at, and what is said."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sfddm.errors import UserError
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.guard import Guard

CPU, GPU = torch.device("cpu"), torch.device("cuda")
"""No GPU is needed to be asked how many losses one looks at together."""


def guard(folder: Path, device: torch.device = CPU) -> Guard:
    return Guard(device, Checkpoints(folder, {}))


def take(watching: Guard, *losses: float) -> None:
    """The losses of iterations 0, 1, ..., at the learning rate .25."""
    for step, loss in enumerate(losses):
        watching.add(step, 0.25, {"loss": torch.tensor(loss)})


@pytest.mark.parametrize(
    ("before", "most"),
    [
        ((1.0,), 1e4),
        ((0.01,), 1e4),  # a loss below 1 counts as 1
        ((5.0, 3.0, 4.0), 3e4),  # the smallest, neither the first nor the last
        ((-7.0,), 1e4),
    ],
)
def test_a_loss_explodes_beyond_ten_thousand_times_the_smallest(
    tmp_path: Path, before: tuple[float, ...], most: float
) -> None:
    take(guard(tmp_path), *before, most)
    with pytest.raises(UserError, match="the loss exploded from"):
        take(guard(tmp_path), *before, most * 1.0001)


def test_an_explosion_is_told_with_both_losses_the_iteration_and_the_learning_rate(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"exploded from 2 to 5e\+04 at iteration 3, learning rate 0\.25\.\nLower lea"):
        take(guard(tmp_path), 4.0, 2.0, 5e4)


def test_on_a_cpu_every_loss_is_looked_at_when_it_comes(tmp_path: Path) -> None:
    watching = guard(tmp_path)
    with pytest.raises(UserError, match=r"not finite \(nan\) at iteration 1,"):
        watching.add(0, 0.25, {"loss": torch.tensor(float("nan"))})


def test_on_a_gpu_losses_are_looked_at_25_at_a_time(tmp_path: Path) -> None:
    watching = guard(tmp_path, GPU)
    take(watching, *[1.0] * 25)  # the first 25 are done with
    take(watching, float("inf"), *[1.0] * 23)
    with pytest.raises(UserError, match=r"not finite \(inf\) at iteration 1,"):
        watching.add(24, 0.25, {"loss": torch.tensor(1.0)})


def test_a_loss_is_looked_at_once(tmp_path: Path) -> None:
    watching = guard(tmp_path, GPU)
    take(watching, 3e4)
    watching.look()
    take(watching, 1.0)
    watching.look()  # the first one was fine beside its own predecessors


def test_weights_are_checked_after_the_losses_that_wait(tmp_path: Path) -> None:
    watching, network = guard(tmp_path, GPU), nn.Linear(2, 1)
    watching.check({"network": network}, 0, 0.25)
    network.bias.data[:] = float("inf")
    with pytest.raises(UserError, match=r"the weights bias are not finite at iteration 8, learning rate 0\.5\."):
        watching.check({"network": network}, 7, 0.5)
    take(watching, float("nan"))
    with pytest.raises(UserError, match=r"the loss is not finite \(nan\) at iteration 1, learning rate 0\.25"):
        watching.check({"network": network}, 7, 0.5)


def test_the_last_good_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\nNo checkpoint yet\.$"):
        take(guard(tmp_path), float("nan"))
    kept: dict[str, Tensor] = {"weight": torch.zeros(1)}
    checkpoints = Checkpoints(tmp_path, {})
    checkpoints.write(3, kept, "")
    with pytest.raises(UserError, match=f"The last good checkpoint is {checkpoints.folder}/000000003; a changed spec"):
        take(Guard(CPU, checkpoints), float("nan"))


def test_a_collapse_stops_the_training_and_names_the_weight_to_lower(tmp_path: Path) -> None:
    """A start without any spread, a single batch of none, and a little more than half of the widest are let pass."""
    watching = guard(tmp_path)
    for step, spread in enumerate([0.0, *[1.0] * 200, 0.0, *[0.55] * 200]):
        watching.add(step, 0.25, {"loss": torch.tensor(1.0), "spread": torch.tensor(spread)})
    with pytest.raises(UserError, match=r"from 1.00 to 0.\d+ times .* at iteration 4\d+, .*\nLower the weight"):
        for step in range(402, 450):
            watching.add(step, 0.25, {"loss": torch.tensor(1.0), "spread": torch.tensor(0.4)})


def test_a_student_that_begins_with_more_spread_than_its_teacher_may_lose_it(tmp_path: Path) -> None:
    """One step of DDIM has noise; what counts is half of the teacher's spread, not of the student's first."""
    watching = guard(tmp_path)
    for step, spread in enumerate([*[2.5] * 100, *[0.6] * 200]):
        watching.add(step, 0.25, {"loss": torch.tensor(1.0), "spread": torch.tensor(spread)})
    with pytest.raises(UserError, match=r"from 1.00 to 0.\d+ times"):
        for step in range(300, 400):
            watching.add(step, 0.25, {"loss": torch.tensor(1.0), "spread": torch.tensor(0.3)})


def test_a_spread_that_is_measured_late_counts_from_then_on(tmp_path: Path) -> None:
    """The distribution term begins after a share of the iterations; before, nothing is known."""
    watching = guard(tmp_path)
    take(watching, *[1.0] * 100)
    for step in range(100, 300):
        watching.add(step, 0.25, {"loss": torch.tensor(1.0), "spread": torch.tensor(0.45)})
    with pytest.raises(UserError, match=r"from 0.45 to 0.2\d times"):
        for step in range(300, 400):
            watching.add(step, 0.25, {"loss": torch.tensor(1.0), "spread": torch.tensor(0.2)})


def test_after_a_checkpoint_a_collapse_is_one_from_what_was_before_it(tmp_path: Path) -> None:
    watching = guard(tmp_path)
    watching.remember([{"loss": 1.0}, *[{"loss": 1.0, "spread": 1.0}] * 30])
    with pytest.raises(UserError, match=r"from 1.00 to 0.4\d times .* at iteration 225"):
        for step in range(200, 300):
            watching.add(step, 0.25, {"loss": torch.tensor(1.0), "spread": torch.tensor(0.3)})
    watching = guard(tmp_path)
    watching.remember([{"loss": 2.0}])
    with pytest.raises(UserError, match="exploded from 2 to 3e"):
        take(watching, 3e4)
