"""Training a teacher: denoising score matching on real images."""

import torch

from sfddm.data.store import Split
from sfddm.diffusion.prediction import training_target
from sfddm.diffusion.process import diffuse
from sfddm.networks.denoiser import Contract, Denoiser, build, unet_config
from sfddm.randomness import Purpose, generator
from sfddm.spec.teacher import Teacher, Trained
from sfddm.training.batches import integers, noise_like, real_images
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.loop import Losses, train


def train_teacher(
    teacher: Teacher, split: Split, device: torch.device, curve: Curve, checkpoints: Checkpoints
) -> Denoiser:
    """Train on a split's images: mean squared error of the output (Ho et al. 2020, equation 14)."""
    source = teacher.source
    assert isinstance(source, Trained)
    contract = Contract(
        timesteps=teacher.timesteps, noise_schedule=teacher.noise_schedule, prediction=teacher.prediction
    )
    denoiser = build(unet_config(source.network, split.images.shape[1:]), contract, source.seed).to(device)
    draw = real_images(split, device)
    size = source.training.batch_size

    def loss(step: int, _: Denoiser) -> Losses:
        random = generator(source.seed, Purpose.TRAINING_BATCH, step)
        x0 = draw(source.seed, step, size)
        level = integers(random, 1, teacher.timesteps + 1, size, device)
        noise = noise_like(random, x0)
        alpha, sigma = denoiser.schedule.at(level, x0)
        output = denoiser(diffuse(x0, noise, alpha, sigma), level).output.float()
        return {"loss": (output - training_target(teacher.prediction, x0, noise, alpha, sigma)).square().mean()}

    return train(denoiser, loss, source.training, curve, checkpoints)
