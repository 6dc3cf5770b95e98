"""Training a teacher: denoising score matching on real images."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sfddm.data.store import Split
from sfddm.diffusion.levels import log_snr
from sfddm.diffusion.prediction import Prediction, training_target
from sfddm.diffusion.process import diffuse
from sfddm.networks.contract import Contract, contract_of
from sfddm.networks.denoiser import Denoiser, build, unet_config
from sfddm.randomness import Purpose, generator
from sfddm.spec.teacher import LogNormal, Teacher, Trained
from sfddm.training import augmentation
from sfddm.training.batches import Rows, noise_like, real_classes, real_images, sent
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.loop import Fitted, Losses, train

Distribution = Literal["uniform"] | LogNormal
DrawLevels = Callable[[np.random.Generator, int], np.ndarray]


def train_teacher(
    teacher: Teacher, split: Split, device: torch.device, curve: Curve, checkpoints: Checkpoints
) -> Fitted[Denoiser]:
    """Train on a split's images: mean squared error of the output (Ho et al. 2020, equation 14)."""
    source = teacher.source
    assert isinstance(source, Trained)
    contract = contract_of(teacher)
    config = unet_config(source.network, split.images.shape[1:], teacher.classes)
    denoiser = build(config, contract, source.seed)
    if source.augmentation:
        denoiser.learn_augmentations(augmentation.NUMBERS)
    batch, levels = source.training.batch_size, source.levels
    loss = denoising_loss(
        denoiser.to(device), teacher.prediction, split, source.seed, batch, levels, source.augmentation
    )
    return train(denoiser, loss, source.training, curve, checkpoints, seed=source.seed)


def denoising_loss(
    denoiser: Denoiser,
    prediction: Prediction,
    split: Split,
    seed: int,
    batch_size: int,
    levels: Distribution = "uniform",
    probability: float = 0.0,
) -> Callable[[int, Denoiser], Losses]:
    """The loss of an iteration on the split's images, for the network as it is by then.

    Changes of images have this probability each; if it is above 0, the network is one that learns augmentations.
    """
    device, rows, draw_levels = denoiser.device, Rows(batch_size), levels_of(levels, denoiser.contract)
    draw, classes = real_images(split, rows, device), denoiser.contract.classes
    draw_classes = real_classes(split, classes, rows, device) if classes else None

    def draw_changes(step: int) -> Tensor | None:
        if not probability:
            return None
        drawn = augmentation.draw(generator(seed, Purpose.AUGMENTATION, step), rows.size, probability)
        return sent(drawn[rows.own], device)

    def loss(step: int, _: Denoiser) -> Losses:
        random = generator(seed, Purpose.TRAINING_BATCH, step)
        x0, changes = draw(seed, step), draw_changes(step)
        if changes is not None:
            x0 = augmentation.changed(x0, changes)
        level = sent(draw_levels(random, rows.size)[rows.own], device)
        noise = noise_like(random, rows, x0)
        alpha, sigma = denoiser.schedule.at(level, x0)
        told = denoiser.given(draw_classes(seed, step) if draw_classes else None)
        output = told(diffuse(x0, noise, alpha, sigma), level, changes=changes).output.float()
        return {"loss": (output - training_target(prediction, x0, noise, alpha, sigma)).square().mean()}

    return loss


def levels_of(distribution: Distribution, contract: Contract) -> DrawLevels:
    """How the levels of a batch are drawn, int64 [images], from a generator and the number of images."""
    timesteps = contract.timesteps
    if distribution == "uniform":
        return lambda random, images: random.integers(1, timesteps + 1, images)
    noise = -log_snr(contract.noise_schedule, timesteps) / 2
    between = (noise[1:] + noise[:-1]) / 2
    mean, deviation = distribution.mean, distribution.deviation
    return lambda random, images: 1 + between.searchsorted(random.normal(mean, deviation, images))
