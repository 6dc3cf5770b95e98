"""What teachers and scorers are trained on: their losses of one iteration, and where they start and end."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve
from torch import nn

from sfddm.evaluation.scorers.classifier import _train
from sfddm.evaluation.scorers.networks import Network
from sfddm.networks.contract import Contract
from sfddm.networks.denoiser import Denoiser, build, unet_config
from sfddm.randomness import Purpose, epoch_indices, generator
from sfddm.spec.teacher import Trained
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.teacher import denoising_loss, train_teacher
from tests.parts import STILL, convolutions, random_split, still_classifier, tiny, untrained_teacher

CPU = torch.device("cpu")


@pytest.mark.parametrize("prediction", ["v", "epsilon", "sample"])
def test_a_teachers_loss_is_the_mean_squared_error_of_what_it_predicts(prediction: str) -> None:
    """With its own numbers for every image: level, noise, and the schedule's alpha and sigma."""
    teacher, data = untrained_teacher(prediction), random_split()
    loss = denoising_loss(teacher, prediction, data, 7, 5)
    for step in (0, 4):
        random = generator(7, Purpose.TRAINING_BATCH, step)
        x0 = torch.from_numpy(data.images[epoch_indices(7, step, 5, 12)] / np.float32(127.5) - 1)
        level = torch.from_numpy(random.integers(1, 65, 5))
        noise = torch.from_numpy(random.standard_normal((5, 1, 8, 8), dtype=np.float32))
        alpha, sigma = (each.view(5, 1, 1, 1) for each in cosine_schedule(level))
        output = teacher(alpha * x0 + sigma * noise, level).output
        wanted = {"v": alpha * noise - sigma * x0, "epsilon": noise, "sample": x0}[prediction]
        assert float(loss(step, teacher)["loss"]) == pytest.approx(float(((output - wanted) ** 2).mean()), rel=1e-4)


def cosine_schedule(level: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Nichol and Dhariwal 2021, equation 17, of 64 levels, whose betas are at most .999."""
    f = np.cos((np.arange(65) / 64 + 0.008) / 1.008 * np.pi / 2) ** 2
    alpha_bar = torch.from_numpy(np.cumprod(np.maximum(f[1:] / f[:-1], 0.001)))[level - 1]
    return alpha_bar.sqrt().float(), (1 - alpha_bar).sqrt().float()


def test_levels_of_a_teachers_batches_are_all_of_1_to_t() -> None:
    teacher, seen = untrained_teacher(), set()
    teacher.register_forward_pre_hook(lambda _, inputs: seen.update(inputs[1].tolist()))
    denoising_loss(teacher, "v", random_split(), 7, 1000)(0, teacher)
    assert seen == set(range(1, 65))


def train_still(folder: Path, train: Callable[[Curve, Checkpoints], nn.Module]) -> tuple[nn.Module, float]:
    """A network after one iteration that moves no weight to speak of, and the loss of that iteration."""
    with Curve(folder / "curve.jsonl", "test", 1, 5) as curve:
        network = train(curve, Checkpoints(folder / "checkpoints", {}))
    return network, json.loads((folder / "curve.jsonl").read_text())["loss"]


def equal(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.allclose(a, b, rtol=0, atol=1e-29) for a, b in pairs)


def test_a_teacher_starts_from_its_seed_with_the_contract_of_its_spec(tmp_path: Path) -> None:
    described, data = tiny().teacher, random_split()
    source = described.source
    assert isinstance(source, Trained)
    still = evolve(described, prediction="epsilon", source=evolve(source, training=evolve(source.training, **STILL)))
    trained, loss = train_still(tmp_path, lambda *kept: train_teacher(still, data, CPU, *kept).network)
    contract = Contract(timesteps=64, noise_schedule="cosine", prediction="epsilon")
    start = build(unet_config(source.network, (1, 8, 8)), contract, source.seed)
    assert isinstance(trained, Denoiser) and trained.contract == contract and equal(trained, start)
    wanted = denoising_loss(start, "epsilon", data, source.seed, 5)(0, start)["loss"]
    assert loss == pytest.approx(float(wanted.detach()))


def test_a_scorer_starts_from_its_seed_and_learns_the_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)  # there are none, and none is asked for its generator
    settings, data = evolve(still_classifier(), trained_on="all"), random_split(classes=4)
    state = torch.get_rng_state()
    trained, loss = train_still(tmp_path, lambda *kept: _train(settings, data, CPU, *kept))
    assert torch.equal(torch.get_rng_state(), state), "the global generator is left alone"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        start = Network((1, 8, 8), convolutions(8, 16), 16, 4)
    assert equal(trained, start)
    chosen = epoch_indices(settings.seed, 0, 5, 12)
    scores = start(torch.from_numpy(data.images[chosen] / np.float32(127.5) - 1))[1].log_softmax(1)
    right = scores[torch.arange(5), torch.from_numpy(chosen % 4)]
    assert loss == pytest.approx(-float(right.detach().mean()), rel=1e-5)


@pytest.mark.parametrize("shape", [(3, 9, 7), (1, 8, 8), (2, 5, 5)])
def test_a_scorers_first_convolution_keeps_the_size_and_every_later_one_halves_it(shape: tuple[int, int, int]) -> None:
    network = Network(shape, convolutions(4, 6, 8), 5, 3)
    sizes: list[tuple[int, ...]] = []
    for layer in network.body:
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda *called: sizes.append(tuple(called[2].shape)))
    features, scores = network(torch.randn(2, *shape))
    height, width = shape[1:]
    half = (height + 1) // 2, (width + 1) // 2
    quarter = (half[0] + 1) // 2, (half[1] + 1) // 2
    assert sizes == [(2, 4, height, width), (2, 6, *half), (2, 8, *quarter)]
    assert features.shape == (2, 5) and scores.shape == (2, 3)
    assert torch.allclose(scores, network.head(features))
