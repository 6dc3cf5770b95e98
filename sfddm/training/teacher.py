"""Training a teacher: denoising score matching on real images."""

from collections.abc import Callable

import torch

from sfddm.data.store import Split
from sfddm.diffusion.prediction import Prediction, training_target
from sfddm.diffusion.process import diffuse
from sfddm.networks.contract import contract_of
from sfddm.networks.denoiser import Denoiser, build, unet_config
from sfddm.randomness import Purpose, generator
from sfddm.spec.teacher import Teacher, Trained
from sfddm.training.batches import Rows, integers, noise_like, real_classes, real_images
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.loop import Losses, train


def train_teacher(
    teacher: Teacher, split: Split, device: torch.device, curve: Curve, checkpoints: Checkpoints
) -> Denoiser:
    """Train on a split's images: mean squared error of the output (Ho et al. 2020, equation 14)."""
    source = teacher.source
    assert isinstance(source, Trained)
    contract = contract_of(teacher)
    config = unet_config(source.network, split.images.shape[1:], teacher.classes)
    denoiser = build(config, contract, source.seed).to(device)
    loss = denoising_loss(denoiser, teacher.prediction, split, source.seed, source.training.batch_size)
    return train(denoiser, loss, source.training, curve, checkpoints)


def denoising_loss(
    denoiser: Denoiser, prediction: Prediction, split: Split, seed: int, batch_size: int
) -> Callable[[int, Denoiser], Losses]:
    """The loss of an iteration on the split's images, for the network as it is by then."""
    timesteps, device = denoiser.contract.timesteps, denoiser.device
    rows = Rows(batch_size)
    draw, classes = real_images(split, rows, device), denoiser.contract.classes
    draw_classes = real_classes(split, classes, rows, device) if classes else None

    def loss(step: int, _: Denoiser) -> Losses:
        random = generator(seed, Purpose.TRAINING_BATCH, step)
        x0 = draw(seed, step)
        level = integers(random, 1, timesteps + 1, rows, device)
        noise = noise_like(random, rows, x0)
        alpha, sigma = denoiser.schedule.at(level, x0)
        told = denoiser.given(draw_classes(seed, step) if draw_classes else None)
        output = told(diffuse(x0, noise, alpha, sigma), level).output.float()
        return {"loss": (output - training_target(prediction, x0, noise, alpha, sigma)).square().mean()}

    return loss
