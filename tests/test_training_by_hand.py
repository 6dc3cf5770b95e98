"""The training loop against Adam, clipping, averages and learning rates that are computed beside it."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve
from torch import Tensor, nn

from sfddm.errors import UserError
from sfddm.spec.training import HalfLife, Training
from sfddm.training import loop
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.loop import Companion, Fitted, Losses, begin, iterate, learning_rate_factor, train
from tests.ranks import group_of_itself, one_of

SETTINGS = Training(
    iterations=5,
    batch_size=7,
    learning_rate=0.05,
    warmup=2,
    decay=0.4,
    clip_norm=1.0,
    average=0.7,
    precision="fp32",
    memory_format="contiguous",
    compile=False,
)
RATES = [0.025, 0.05, 0.05, 0.05, 0.025]
"""Half the highest, then all of it, and half in the second of the last two."""
SLOPES = np.array([[3.0, 4.0], [0.3, -0.4], [-6.0, 8.0], [0.0, 0.5], [1.0, 0.0]])
"""The loss of iteration i is SLOPES[i] times the weights; norms 5, .5, 10, .5 and 1."""
CLIPPED = np.array([[0.6, 0.8], [0.3, -0.4], [-0.6, 0.8], [0.0, 0.5], [1.0, 0.0]])
"""The same slopes, none longer than 1."""


def adam(gradients: np.ndarray, rates: list[float]) -> np.ndarray:
    """Weights [n + 1, 2] before and after each of n steps from 0 (Kingma and Ba 2015, algorithm 1)."""
    weights, first, second = [np.zeros(2)], np.zeros(2), np.zeros(2)
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        update = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        weights.append(weights[-1] - rate * update)
    return np.array(weights)


def averages(weights: np.ndarray, decay: float) -> np.ndarray:
    """Moving averages [n + 1, 2] of what `adam` gives: the first step's own weights, then decay times the last."""
    found = [weights[0], weights[1]]
    for now in weights[2:]:
        found.append(decay * found[-1] + (1 - decay) * now)
    return np.array(found)


class Line(nn.Module):
    """Two weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))


def fit(
    folder: Path,
    settings: Training = SETTINGS,
    before: int = 0,
    seen: Callable[[int, Line, Line], None] | None = None,
    target_average: float | None = None,
) -> Line:
    """The line, trained."""
    return fit_all(folder, settings, before, seen, target_average).network


def fit_all(
    folder: Path,
    settings: Training = SETTINGS,
    before: int = 0,
    seen: Callable[[int, Line, Line], None] | None = None,
    target_average: float | None = None,
) -> Fitted[Line]:
    """Train the line; `seen` is told iteration, network and average before every step."""
    network = Line().eval()  # as what was loaded is

    def loss(step: int, average: Line) -> Losses:
        if seen:
            seen(step, network, average)
        slope = torch.tensor(SLOPES[step - before], dtype=torch.float32)
        return {"loss": (slope * network.weight).sum(), "other": torch.tensor(float(step))}

    with Curve(folder / "curve.jsonl", "test", before + settings.iterations, settings.batch_size) as curve:
        kept = Checkpoints(folder / "checkpoints", {})
        return train(network, loss, settings, curve, kept, before, target_average, seed=0)


def points(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]


def gradient(settings: Training, slope: Tensor) -> Tensor:
    """What an iteration leaves as the gradient of a loss of this slope."""
    network = Line()
    state = begin(network, settings)
    iterate(state, lambda *_: {"loss": (slope * network.weight).sum()}, 0, 0.1, settings)
    assert network.weight.grad is not None
    return network.weight.grad


def test_a_gradient_beyond_the_clip_norm_is_scaled_down_to_it() -> None:
    slope = torch.tensor([30.0, 40.0])
    assert gradient(SETTINGS, slope).tolist() == pytest.approx([0.6, 0.8])
    assert gradient(evolve(SETTINGS, clip_norm=10.0), slope).tolist() == pytest.approx([6.0, 8.0])


def test_a_gradient_within_the_clip_norm_is_left_as_it_is() -> None:
    assert gradient(evolve(SETTINGS, clip_norm=51.0), torch.tensor([30.0, 40.0])).tolist() == [30.0, 40.0]
    assert gradient(evolve(SETTINGS, clip_norm=0.0), torch.tensor([3e7, 4e7])).tolist() == [3e7, 4e7]


def test_a_training_is_adam_on_clipped_gradients_averaged(tmp_path: Path) -> None:
    last = adam(CLIPPED, RATES)
    assert np.abs(adam(SLOPES, RATES) - last).max() > 0.01, "clipping shows in the weights"
    assert fit(tmp_path).weight.numpy() == pytest.approx(averages(last, 0.7)[-1], rel=1e-4)
    assert fit(tmp_path / "last", evolve(SETTINGS, average=0.0)).weight.numpy() == pytest.approx(last[-1], rel=1e-4)


@pytest.mark.parametrize(
    ("half_life", "decays"),
    [
        (HalfLife(kind="half-life", images=7, ramp=0), [0.5, 0.5, 0.5, 0.5]),
        (HalfLife(kind="half-life", images=14, ramp=0.5), [0.5, 0.5 ** (2 / 3), 0.5**0.5, 0.5**0.5]),
    ],
)
def test_a_half_life_is_measured_in_images_and_rises_with_them(
    tmp_path: Path, half_life: HalfLife, decays: list[float]
) -> None:
    """After 7 k images in k iterations: the second one's half-life is half of 14, the third's half of 21."""
    last = adam(CLIPPED, RATES)
    expected = last[1]
    for decay, now in zip(decays, last[2:], strict=True):
        expected = decay * expected + (1 - decay) * now
    for before in (0, 300):  # iterations of earlier folds: each fold's average begins anew, and so does its ramp
        found = fit(tmp_path / str(before), evolve(SETTINGS, average=half_life), before)
        assert found.weight.numpy() == pytest.approx(expected, rel=1e-4)


def test_other_averages_have_decays_of_their_own_and_change_nothing_else(tmp_path: Path) -> None:
    last, half_life = adam(CLIPPED, RATES), HalfLife(kind="half-life", images=7, ramp=0)
    settings = evolve(SETTINGS, other_averages={"short": 0.2, "last": 0.0, "long": half_life})
    for before in (0, 300):  # iterations of earlier folds
        fitted = fit_all(tmp_path / str(before), settings, before)
        assert torch.equal(fitted.network.weight, fit(tmp_path / f"alone-{before}", before=before).weight)
        found = {name: other.weight.numpy() for name, other in fitted.others.items()}
        assert list(found) == ["short", "last", "long"]
        assert found["short"] == pytest.approx(averages(last, 0.2)[-1], rel=1e-4)
        assert found["last"] == pytest.approx(last[-1], rel=1e-4)
        assert found["long"] == pytest.approx(averages(last, 0.5)[-1], rel=1e-4)


@pytest.mark.parametrize(("target_average", "decay"), [(None, 0.7), (0.7, 0.7), (0.2, 0.2), (0.0, 0.0)])
def test_a_loss_is_given_the_weights_and_the_average_of_its_own_decay(
    tmp_path: Path, target_average: float | None, decay: float
) -> None:
    """What is kept is that of the settings."""
    found: list[tuple[np.ndarray, np.ndarray]] = []

    def seen(step: int, network: Line, average: Line) -> None:
        assert step == len(found) and network.training
        found.append((network.weight.detach().numpy().copy(), average.weight.detach().numpy().copy()))

    kept = fit(tmp_path, seen=seen, target_average=target_average)
    weights = adam(CLIPPED, RATES)
    assert kept.weight.numpy() == pytest.approx(averages(weights, 0.7)[-1], rel=1e-4)
    assert np.array([own for own, _ in found]) == pytest.approx(weights[:-1], rel=1e-4)
    assert np.array([average for _, average in found]) == pytest.approx(averages(weights, decay)[:-1], rel=1e-4)


def test_a_curve_has_every_term_before_each_step_and_the_learning_rate_of_the_step(tmp_path: Path) -> None:
    fit(tmp_path)
    losses = (SLOPES * adam(CLIPPED, RATES)[:-1]).sum(1)
    found = points(tmp_path)
    assert [set(point) for point in found] == [{"step", "loss", "other", "learning_rate"}] * 5
    assert [point["step"] for point in found] == [1, 2, 3, 4, 5]
    assert [point["other"] for point in found] == [0, 1, 2, 3, 4]
    assert [point["loss"] for point in found] == pytest.approx(losses.tolist(), rel=1e-4, abs=1e-7)
    assert [point["learning_rate"] for point in found] == pytest.approx(RATES)


def test_a_later_fold_counts_its_iterations_on_and_has_its_own_learning_rates(tmp_path: Path) -> None:
    steps: list[int] = []
    trained = fit(tmp_path, before=3, seen=lambda step, *_: steps.append(step))
    assert steps == [3, 4, 5, 6, 7]
    assert [point["step"] for point in points(tmp_path)] == [4, 5, 6, 7, 8]
    assert [point["learning_rate"] for point in points(tmp_path)] == pytest.approx(RATES)
    assert trained.weight.numpy() == pytest.approx(averages(adam(CLIPPED, RATES), 0.7)[-1], rel=1e-4)
    assert [path.name for path in tmp_path.glob("checkpoints/*/*")] == ["000000008-result"]


def test_what_was_trained_is_fixed_and_comes_from_its_result_the_second_time(tmp_path: Path) -> None:
    settings = evolve(SETTINGS, other_averages={"short": 0.2})
    first = fit_all(tmp_path, settings)
    again = fit_all(tmp_path, settings, seen=lambda *_: pytest.fail("trained again"))
    for fitted in (first, again):
        for trained in (fitted.network, fitted.others["short"]):
            assert not trained.training and not trained.weight.requires_grad
    assert torch.equal(first.network.weight, again.network.weight)
    assert torch.equal(first.others["short"].weight, again.others["short"].weight)
    assert len(points(tmp_path)) == 5


@pytest.mark.parametrize("target_average", [None, 0.2])
def test_a_training_that_goes_on_ends_with_the_same_weights_and_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target_average: float | None
) -> None:
    """Each iteration is given the same averages as without the stop."""

    class Stopped(Exception):
        pass

    def stop_at(last: int) -> Callable[[int, Line, Line], None]:
        def seen(step: int, *_: Line) -> None:
            if step == last:
                raise Stopped

        return seen

    monkeypatch.setenv("SFDDM_CHECKPOINT_SECONDS", "0")
    given: dict[str, list[tuple[int, list[float]]]] = {"undisturbed": [], "survived": []}

    def keep(name: str) -> Callable[[int, Line, Line], None]:
        return lambda step, _, average: given[name].append((step, average.weight.tolist()))

    settings = evolve(SETTINGS, other_averages={"short": 0.3, "target": 0.1})
    undisturbed = fit_all(tmp_path / "undisturbed", settings, seen=keep("undisturbed"), target_average=target_average)
    for last in (2, 4):
        with pytest.raises(Stopped):
            fit(tmp_path / "stopped", settings, seen=stop_at(last), target_average=target_average)
    survived = fit_all(tmp_path / "stopped", settings, seen=keep("survived"), target_average=target_average)
    assert given["survived"] == given["undisturbed"][4:]
    assert torch.equal(survived.network.weight, undisturbed.network.weight)
    for name in ("short", "target"):
        assert torch.equal(survived.others[name].weight, undisturbed.others[name].weight)
    assert points(tmp_path / "stopped") == points(tmp_path / "undisturbed")


@pytest.mark.parametrize(
    ("warmup", "decay", "factors"),
    [
        (0, 0.0, [1, 1, 1, 1, 1]),
        (4, 0.0, [0.25, 0.5, 0.75, 1, 1]),
        (0, 1.0, [1, 0.8, 0.6, 0.4, 0.2]),
        (5, 1.0, [0.2, 0.4, 0.6, 0.4, 0.2]),
        (0, 0.6, [1, 1, 1, 2 / 3, 1 / 3]),
    ],
)
def test_learning_rates_by_hand(warmup: int, decay: float, factors: list[float]) -> None:
    settings = evolve(SETTINGS, warmup=warmup, decay=decay)
    assert [learning_rate_factor(step, settings) for step in range(5)] == pytest.approx(factors)


def test_processes_that_share_a_batch_add_up_to_the_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three processes have 3, 2 and 2 of 7 images, whose mean loss is what is minimised."""
    images = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.5, 0.5], [2.0, 2.0], [-1.0, 0.0], [4.0, 1.0], [0.0, 3.0]])
    free = evolve(SETTINGS, clip_norm=1e9)

    def iteration(rows: Tensor) -> tuple[Tensor, Losses]:
        network = Line()
        network.weight.data[:] = torch.tensor([1.0, 2.0])
        state = begin(network, free)
        losses = iterate(
            state, lambda *_: {"loss": (rows @ network.weight).mean(), "ones": rows.new_ones(())}, 0, 0.1, free
        )
        assert network.weight.grad is not None
        return network.weight.grad, losses

    whole, losses = iteration(images)
    assert whole.tolist() == pytest.approx(images.mean(0).tolist())
    assert float(losses["loss"]) == pytest.approx(float((images @ torch.tensor([1.0, 2.0])).mean()))
    with group_of_itself():
        parts = []
        for rank in range(3):
            one_of(monkeypatch, rank, 3)
            parts.append(iteration(images[rank::3]))
    assert sum(part for part, _ in parts).tolist() == pytest.approx(whole.tolist())
    assert sum(float(of["loss"]) for _, of in parts) == pytest.approx(float(losses["loss"]))
    assert [float(of["ones"]) for _, of in parts] == pytest.approx([3 / 7, 2 / 7, 2 / 7])


def test_gradients_and_losses_of_the_others_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process whose images are the same."""

    def add_the_same(tensors: list[Tensor]) -> None:
        for tensor in tensors:
            tensor.mul_(2)

    monkeypatch.setattr(loop, "all_reduce_sum", add_the_same)
    one_of(monkeypatch, 0, 2)
    network = Picture()
    state = begin(network, SETTINGS)
    free = evolve(SETTINGS, batch_size=6, clip_norm=1e9)
    weight = network.convolution.weight
    losses = iterate(state, lambda *_: {"loss": weight.mean(), "half": weight.bfloat16().mean()}, 0, 0.0, free)
    assert weight.grad is not None and weight.grad.flatten().tolist() == pytest.approx([1 / weight.numel()] * 54)
    assert float(losses["loss"]) == pytest.approx(float(weight.detach().mean()))
    assert losses["half"].dtype == torch.float32 and not losses["loss"].requires_grad


def test_a_weight_that_a_loss_leaves_out_stays_where_it_is() -> None:
    """Though Adam has a momentum of it."""
    network = Picture()
    state = begin(network, SETTINGS)
    iterate(state, lambda *_: {"loss": network.unused.sum()}, 0, 0.1, SETTINGS)
    before = network.unused.clone()
    iterate(state, lambda *_: {"loss": network.convolution.weight.sum()}, 1, 0.1, SETTINGS)
    assert torch.equal(network.unused, before)


@pytest.mark.parametrize("wanted", [False, pytest.param(True, marks=pytest.mark.heavy)])
def test_network_and_average_are_compiled_where_the_spec_says_so(wanted: bool) -> None:
    """Which happens at the first call."""
    state = begin(Line(), evolve(SETTINGS, compile=wanted))
    assert state.target is state.average
    state = begin(Line(), evolve(SETTINGS, compile=wanted), target_average=0.2)
    for module in (state.network, state.average.module, state.target.module):
        assert (module._compiled_call_impl is not None) == wanted


class Compiled(Line):
    """Keeps how it was asked to be compiled, as its copies do."""

    def compile(self, *arguments: object, **options: object) -> None:
        self.asked = (arguments, options)


def test_every_shape_is_compiled_for_itself() -> None:
    state = begin(Compiled(), evolve(SETTINGS, compile=True), target_average=0.2)
    for module in (state.network, state.average.module, state.target.module):
        assert module.asked == ((), {"dynamic": False})


def test_all_weights_are_updated_in_one_go() -> None:
    assert begin(Line(), SETTINGS).optimizer.defaults["fused"] is True


@pytest.mark.parametrize(("step", "number"), [(2, None), (0, signal.SIGTERM)])
def test_weights_are_looked_at_before_they_are_kept(tmp_path: Path, step: int, number: int | None) -> None:
    """At the end, and when a signal asks for a checkpoint: the next one by the clock is a minute away."""
    network = Line()

    def loss(now: int, _: Line) -> Losses:
        if now == step and number:
            signal.raise_signal(number)
        endless = network.weight.abs().sqrt().sum() - network.weight.detach().abs().sqrt().sum()
        return {"loss": endless if now == step else (0 * network.weight).sum()}  # at 0 its gradient is infinite

    settings, words = (
        evolve(SETTINGS, iterations=3, decay=0),
        f"the weights weight are not finite at iteration {step + 1},",
    )
    with Curve(tmp_path / "curve.jsonl", "test", 3, 7) as curve, pytest.raises(UserError, match=words):
        train(network, loss, settings, curve, Checkpoints(tmp_path / "kept", {}), seed=0)
    assert not list(tmp_path.glob("kept/*/*"))


class Picture(nn.Module):
    """A convolution, whose memory format shows, beside a weight that the loss leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 3, 3)
        self.unused = nn.Parameter(torch.ones(1))


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_weights_lie_in_memory_as_the_spec_says_read_back_or_not(tmp_path: Path, memory_format: str) -> None:
    settings = evolve(SETTINGS, iterations=1, memory_format=memory_format)
    laid_out = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}[memory_format]
    for _ in range(2):
        trained = picture(tmp_path, settings)
        assert trained.convolution.weight.is_contiguous(memory_format=laid_out)
        assert trained.unused.tolist() == [1.0]


def picture(folder: Path, settings: Training) -> Picture:
    """A trained one, or the one that was trained in that folder before."""
    network = Picture()
    with Curve(folder / "curve.jsonl", "test", 1, 1) as curve:
        checkpoints = Checkpoints(folder / "checkpoints", {})
        return train(
            network, lambda *_: {"loss": network.convolution.weight.sum()}, settings, curve, checkpoints, seed=0
        ).network


def test_too_little_memory_before_the_first_checkpoint(tmp_path: Path) -> None:
    def no_room(*_: object) -> None:
        raise MemoryError

    with pytest.raises(UserError, match=r"SFDDM_PARTS=2, .* lower batch_size \(7\) in .*, or make .* smaller\.$"):
        fit(tmp_path, seen=no_room)


def test_a_companion_learns_from_its_own_loss_at_a_constant_rate_and_with_a_norm_of_its_own() -> None:
    """Its slopes are clipped apart from the network's; the rate of the network rises and falls, and its does not."""
    network, other = Line(), Line()
    state = begin(network, SETTINGS, companion=Companion(network=other, loss="other", learning_rate=0.2))
    for step, (slope, rate) in enumerate(zip(SLOPES, RATES, strict=True)):
        own, others = (torch.tensor(each, dtype=torch.float32) for each in (slope, 10 * slope))
        losses = {"loss": (own * network.weight).sum(), "other": (others * other.weight).sum()}
        iterate(state, lambda *_, losses=losses: losses, step, rate, SETTINGS)
    clipped = 10 * SLOPES / np.maximum(1, np.linalg.norm(10 * SLOPES, axis=1))[:, None]
    assert network.weight.tolist() == pytest.approx(adam(CLIPPED, RATES)[-1], abs=1e-6)
    assert other.weight.tolist() == pytest.approx(adam(clipped, [0.2] * 5)[-1], abs=1e-6)
    assert set(state.parts) == {"network", "other", "average"}, "in checkpoints, and not averaged"


def test_the_average_of_a_companion_follows_it_with_a_decay_of_its_own() -> None:
    network, other, average = Line(), Line(), Line()
    companion = Companion(network=other, loss="other", learning_rate=0.2, average=average, decay=0.75)
    state = begin(network, SETTINGS, companion=companion)
    wanted = None
    for step in range(4):
        losses = {"loss": network.weight.sum(), "other": other.weight.square().sum() + other.weight.sum()}
        iterate(state, lambda *_, losses=losses: losses, step, 0.1, SETTINGS)
        now = other.weight.detach().clone()
        wanted = now if wanted is None else 0.75 * wanted + 0.25 * now
        assert torch.allclose(average.weight, wanted)
    assert state.parts["other_average"] is average, "in checkpoints"


def test_a_companion_without_a_loss_in_an_iteration_stays_as_it_is() -> None:
    network, other = Line(), Line()
    state = begin(network, SETTINGS, companion=Companion(network=other, loss="other", learning_rate=0.2))
    iterate(state, lambda *_: {"loss": network.weight.sum()}, 0, 0.1, SETTINGS)
    assert other.weight.tolist() == [0.0, 0.0]
