"""Non-leaking augmentation: what the network is told is what was done, and nothing of it is left in the end."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve
from torch import Tensor

from sfddm.networks import storage
from sfddm.networks.contract import contract_of
from sfddm.networks.denoiser import Denoiser
from sfddm.spec.teacher import LogNormal, Network, Teacher, Trained
from sfddm.training import augmentation
from sfddm.training.augmentation import changed, draw
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.teacher import denoising_loss, levels_of, train_teacher
from tests.mortal import Killed, Mortal
from tests.parts import CPU, EDM_PLAIN, FEW, random_split, tiny, untrained_teacher

ITERATIONS = 3
MIRRORED, UPSIDE_DOWN, SCALED, COSINE, SINE, ALONG, ACROSS, RIGHT, DOWN = range(augmentation.NUMBERS)


def told(*pairs: tuple[int, float]) -> Tensor:
    numbers = torch.zeros(1, augmentation.NUMBERS)
    for at, value in pairs:
        numbers[0, at] = value
    return numbers


def picture(height: int = 16, width: int = 16) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(5)) * 2 - 1


def blob(variances: tuple[float, float], size: int = 64) -> Tensor:
    """A bell in the middle of an image, with these variances in pixels across and down."""
    place = torch.arange(size) - (size - 1) / 2
    bell = torch.exp(-(place**2) / (2 * variances[0]))[None, :] * torch.exp(-(place**2) / (2 * variances[1]))[:, None]
    return (2 * bell - 1)[None, None]


def covariance(image: Tensor) -> tuple[float, float, float]:
    """Of a blob's places, without reflections at the border: across, down, and between both."""
    weight = (image[0, 0, 10:-10, 10:-10] + 1) / 2
    place = torch.arange(len(weight)) - (len(weight) - 1) / 2
    total = weight.sum()
    across, down = place[None, :], place[:, None]
    return tuple(float((weight * each).sum() / total) for each in (across**2, down**2, across * down))  # type: ignore[return-value]


def test_what_is_left_or_only_mirrored_has_the_same_bytes() -> None:
    image = picture()
    assert torch.equal(changed(image, told()), image)
    assert torch.equal(changed(image, told((MIRRORED, 1))), image.flip(-1))
    assert torch.equal(changed(image, told((UPSIDE_DOWN, 1))), image.flip(-2))
    assert torch.equal(changed(image, told((MIRRORED, 1), (UPSIDE_DOWN, 1))), image.flip(-1, -2))


def test_every_image_is_changed_by_its_own_numbers() -> None:
    images = torch.cat([picture(), picture(), picture()])
    found = changed(images, torch.cat([told(), told((MIRRORED, 1)), told((RIGHT, 1.0))]))
    assert torch.equal(found[0], images[0]) and torch.equal(found[1], images[1].flip(-1))
    assert not torch.equal(found[2], images[2])


@pytest.mark.parametrize(("turns", "expected"), [(1, (3, 2)), (-1, (2, 3))])
def test_a_quarter_turn_is_clockwise(turns: int, expected: tuple[int, int]) -> None:
    angle = turns * math.pi / 2
    numbers = told((COSINE, math.cos(angle) - 1), (SINE, math.sin(angle)))
    image = picture()
    torch.testing.assert_close(changed(image, numbers), torch.rot90(image, 1, expected), atol=1e-4, rtol=0)


def test_a_half_turn_of_an_oblong_image_and_a_quarter_turn_of_a_round_thing_in_it() -> None:
    image = picture(8, 16)
    torch.testing.assert_close(changed(image, told((COSINE, -2))), image.flip(-1, -2), atol=1e-4, rtol=0)
    round_thing = blob((9.0, 9.0))[:, :, 16:48]
    turned = changed(round_thing, told((COSINE, -1), (SINE, 1)))
    middle = (..., slice(16, 48))
    torch.testing.assert_close(turned[middle], round_thing[middle], atol=1e-2, rtol=0)


@pytest.mark.parametrize(("at", "shift"), [(RIGHT, (0, 2)), (DOWN, (2, 0))])
def test_images_of_number_1_move_by_an_eighth_of_their_side(at: int, shift: tuple[int, int]) -> None:
    image = picture()
    moved = changed(image, told((at, 1.0)))
    inside = (..., slice(4, 12), slice(4, 12))
    torch.testing.assert_close(moved[inside], image.roll(shift, (-2, -1))[inside], atol=1e-4, rtol=0)
    border = moved[..., :2] if at == RIGHT else moved[..., :2, :]
    reflected = image[..., :2].flip(-1) if at == RIGHT else image[..., :2, :].flip(-2)
    torch.testing.assert_close(border, reflected, atol=1e-4, rtol=0)


def test_an_oblong_image_moves_by_an_eighth_of_the_side_it_moves_along() -> None:
    image = picture(16, 32)
    moved = changed(image, told((RIGHT, 1.0), (DOWN, -1.0)))
    torch.testing.assert_close(
        moved[..., 4:10, 8:20], image.roll((-2, 4), (-2, -1))[..., 4:10, 8:20], atol=1e-4, rtol=0
    )


def test_five_standard_deviations_double_the_scale() -> None:
    across, down, both = covariance(changed(blob((9.0, 4.0)), told((SCALED, 5.0))))
    assert (across, down, both) == pytest.approx((36.0, 16.0, 0.0), abs=0.5)


@pytest.mark.parametrize("axis", [0.0, math.pi / 2, math.pi / 4])
def test_a_stretch_doubles_one_axis_and_halves_the_other(axis: float) -> None:
    numbers = told((ALONG, 5 * math.cos(2 * axis)), (ACROSS, 5 * math.sin(2 * axis)))
    found = covariance(changed(blob((9.0, 9.0)), numbers))
    c, s = math.cos(axis), math.sin(axis)
    expected = (36 * c * c + 2.25 * s * s, 36 * s * s + 2.25 * c * c, (36 - 2.25) * c * s)
    assert found == pytest.approx(expected, abs=0.5)


def test_changes_are_drawn_as_often_as_asked_and_as_widely() -> None:
    numbers = draw(np.random.default_rng(3), 40_000, 0.2)
    assert numbers.dtype == np.float32 and numbers.shape == (40_000, augmentation.NUMBERS)
    often = (numbers != 0).mean(0)
    assert often[MIRRORED] == pytest.approx(0.5, abs=0.01) and often[UPSIDE_DOWN] == pytest.approx(0.1, abs=0.01)
    assert often[SCALED:] == pytest.approx(0.2, abs=0.01)
    for at in (SCALED, RIGHT, DOWN):
        assert numbers[numbers[:, at] != 0, at].std() == pytest.approx(1.0, abs=0.03)
    turned, stretched = numbers[numbers[:, SINE] != 0], numbers[numbers[:, ALONG] != 0]
    assert np.hypot(turned[:, COSINE] + 1, turned[:, SINE]) == pytest.approx(1, abs=1e-6)
    assert np.hypot(stretched[:, ALONG], stretched[:, ACROSS]).mean() == pytest.approx(math.sqrt(2 / math.pi), abs=0.03)
    both = (numbers[:, SCALED] != 0) & (numbers[:, RIGHT] != 0)
    assert both.mean() == pytest.approx(0.04, abs=0.005), "changes are independent"
    assert not draw(np.random.default_rng(3), 100, 0.0)[:, 1:].any()


def augmented(probability: float = 0.5, **others: Any) -> Teacher:
    described = tiny().teacher
    assert isinstance(described.source, Trained)
    training = evolve(FEW, iterations=ITERATIONS, batch_size=8)
    return evolve(described, source=evolve(described.source, training=training, augmentation=probability, **others))


def trained(folder: Path, described: Teacher, checkpoints: Callable[..., Checkpoints] = Checkpoints) -> Denoiser:
    folder.mkdir(exist_ok=True)
    with Curve(folder / "curve.jsonl", "teacher", ITERATIONS, 8) as curve:
        return train_teacher(described, random_split(), CPU, curve, checkpoints(folder / "checkpoints", {})).network


def equal(one: Denoiser, other: Denoiser) -> bool:
    own, others = one.network.state_dict(), other.network.state_dict()
    return own.keys() == others.keys() and all(torch.equal(own[name], others[name]) for name in own)


def test_a_training_that_is_killed_ends_with_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFDDM_CHECKPOINT_SECONDS", "0")
    undisturbed, kills = trained(tmp_path / "whole", augmented()), 0
    while kills <= ITERATIONS:
        try:
            survived = trained(tmp_path / "killed", augmented(), Mortal)
            break
        except Killed:
            kills += 1
    assert kills == ITERATIONS and equal(survived, undisturbed)
    assert survived.augmentation is not None and undisturbed.augmentation is not None
    assert torch.equal(survived.augmentation.weight, undisturbed.augmentation.weight)
    assert undisturbed.augmentation.weight.any(), "the network never learned what it was told"
    assert not equal(trained(tmp_path / "without", augmented(0.0)), undisturbed)


def test_what_is_kept_is_a_network_like_any_other(tmp_path: Path) -> None:
    for name, described in (("with", augmented()), ("without", augmented(0.0))):
        storage.write(tmp_path / name, trained(tmp_path / name, described))
    kept, usual = (storage.load(tmp_path / name, CPU) for name in ("with", "without"))
    assert kept.network.state_dict().keys() == usual.network.state_dict().keys()
    assert kept.config == usual.config and kept.augmentation is None


@pytest.mark.heavy
def test_a_compiled_network_is_told_as_well() -> None:
    denoiser = untrained_teacher()
    denoiser.learn_augmentations(augmentation.NUMBERS)
    assert denoiser.augmentation is not None
    torch.nn.init.normal_(denoiser.augmentation.weight)
    x, level = torch.randn(3, *denoiser.image_shape), torch.tensor([1, 30, 64])
    given = [{}, {"changes": torch.randn(3, augmentation.NUMBERS)}, {"changes": torch.randn(3, augmentation.NUMBERS)}]
    plain = [denoiser(x, level, **each).output for each in given]
    torch.compiler.reset()
    denoiser.compile(dynamic=False, backend="eager")
    for expected, each in [*zip(plain, given, strict=True)] * 2:
        torch.testing.assert_close(denoiser(x, level, **each).output, expected)


@pytest.mark.parametrize("network", [None, EDM_PLAIN])
def test_without_changes_the_network_is_as_if_none_had_been_learned(network: Network | None) -> None:
    denoiser = untrained_teacher(network=network)  # type: ignore[arg-type]
    x, level = torch.randn(3, *denoiser.image_shape), torch.tensor([1, 5, 8])
    plain = denoiser(x, level).output
    denoiser.learn_augmentations(augmentation.NUMBERS)
    numbers = torch.randn(3, augmentation.NUMBERS)
    assert torch.equal(denoiser(x, level, changes=numbers).output, plain), "it begins by ignoring them"
    assert denoiser.augmentation is not None
    torch.nn.init.normal_(denoiser.augmentation.weight)
    for part in denoiser.network.parameters():
        torch.nn.init.normal_(part, std=0.1)  # EDM's blocks begin by ignoring the time itself
    plain = denoiser(x, level).output
    assert torch.equal(denoiser(x, level, changes=torch.zeros_like(numbers)).output, plain)
    assert not torch.allclose(denoiser(x, level, changes=numbers).output, plain)
    assert torch.equal(denoiser(x, level).output, plain), "what it was told is over"


def test_the_network_is_shown_and_told_the_same_change(monkeypatch: pytest.MonkeyPatch) -> None:
    denoiser, split, seen = untrained_teacher(), random_split(), list[Tensor]()
    denoiser.learn_augmentations(augmentation.NUMBERS)
    shown = list[Tensor]()
    monkeypatch.setattr(augmentation, "changed", lambda *given: shown.append(given[1]) or changed(*given))  # type: ignore[func-returns-value]
    assert denoiser.augmentation is not None
    denoiser.augmentation.register_forward_pre_hook(lambda _, given: seen.append(given[0]))  # type: ignore[func-returns-value,arg-type]
    loss = denoising_loss(denoiser, "v", split, 0, 8, probability=1.0)
    first, second = (loss(step, denoiser)["loss"] for step in (0, 1))
    assert len(seen) == 2 and all(torch.equal(one, other) for one, other in zip(seen, shown, strict=True))  # type: ignore[arg-type]
    assert not torch.equal(shown[0], shown[1]) and not torch.equal(first, second)


def test_levels_near_a_stated_noise() -> None:
    contract = evolve(contract_of(tiny().teacher), timesteps=1000, noise_schedule="edm", prediction="edm")
    described = LogNormal(kind="log-normal", mean=-1.2, deviation=1.2)
    levels = levels_of(described, contract)(np.random.default_rng(1), 50_000)
    assert levels.min() >= 1 and levels.max() <= 1000
    noise = np.linspace(0.002 ** (1 / 7), 80 ** (1 / 7), 1000)[levels - 1] ** 7
    assert np.log(noise).mean() == pytest.approx(-1.2, abs=0.02) and np.log(noise).std() == pytest.approx(1.2, abs=0.02)
    far = levels_of(evolve(described, mean=20.0), contract)(np.random.default_rng(1), 100)
    assert (far == 1000).all()
    near = levels_of(evolve(described, mean=-20.0), contract)(np.random.default_rng(1), 100)
    assert (near == 1).all()
    even = levels_of("uniform", contract)(np.random.default_rng(1), 50_000)
    assert even.min() == 1 and even.max() == 1000 and even.mean() == pytest.approx(500.5, abs=5)


def test_a_training_at_other_levels_is_another_one(tmp_path: Path) -> None:
    near = LogNormal(kind="log-normal", mean=-1.2, deviation=0.5)
    assert not equal(trained(tmp_path / "near", augmented(0.0, levels=near)), trained(tmp_path / "all", augmented(0.0)))
