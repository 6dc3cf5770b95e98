"""A short test of an imported teacher on real images: does it denoise, and at the noise levels that it is told?

A wrong range of pixels, prediction or schedule gives a network that runs without an error, and images that are useless
a day later. Here it shows at once: at three noise levels the teacher has to predict the image better than the best mix
of two guesses that look at nothing (the mean image, and the noisy image itself), and better than when it is told the
level that another schedule gives to the same noise.
"""

import math
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from sfddm.diffusion.levels import Schedule, ScheduleName, angles
from sfddm.diffusion.process import diffuse
from sfddm.errors import UserError
from sfddm.images import from_bytes
from sfddm.networks.denoiser import Denoiser
from sfddm.randomness import Purpose, normals

ANGLES = (0.25, 0.5, 0.75)
"""Noise levels, as shares of the right angle atan2(sigma, alpha): mostly image, half and half, mostly noise."""
NUMBERS = 2**20
"""Pixels that the errors are means of, whatever the size of the images."""
FEWEST, MOST = 16, 512
"""Images."""
AT_ONCE = 2**18
"""Pixels that the network is given at a time; one image, where that has more."""
MARGIN = 0.97
"""Another schedule has to be better by this factor: two of ours are nearly the same, and noise is noise."""


def require_denoising(
    teacher: Denoiser, images: np.ndarray, origin: str, labels: np.ndarray | None = None
) -> dict[str, float]:
    """Try the teacher on uint8 images [N, C, H, W], whose classes it is told if it is told any.

    Returns:
        Its mean squared error by schedule, as a share of the best guess's: of its own below 1, and the lowest. A
        network under EDM's preconditioning is told the noise itself, so its own is the only one.

    Raises:
        UserError: it denoises no better than a guess, or better as if its schedule were another one.
    """
    wanted = min(max(NUMBERS // math.prod(images.shape[1:]), FEWEST), MOST, len(images))
    # A stretch at each of many places: sets are often sorted by class.
    chosen = np.linspace(0, len(images) - 1, wanted).astype(np.int64)
    clean = from_bytes(images[chosen]).to(teacher.device)
    if teacher.contract.classes:
        assert labels is not None
        teacher = teacher.given(torch.from_numpy(labels[chosen]).to(teacher.device))
    noise = torch.from_numpy(normals(0, Purpose.IMPORT_NOISE, range(len(clean)), clean.shape[1:])).to(teacher.device)
    own = teacher.contract.noise_schedule
    others = () if teacher.contract.prediction == "edm" else get_args(ScheduleName)
    errors = {str(kind): round(_error(teacher, clean, noise, kind), 4) for kind in dict.fromkeys((own, *others))}
    better, named = min(errors, key=errors.__getitem__), str(own)
    if better != named and errors[better] < min(1, MARGIN * errors[named]):
        raise UserError(
            f"{origin} denoises better as if its noise schedule were {better} ({errors[better]} of a guess's error) "
            f"than under {named} ({errors[named]}): the schedule that its configuration and the spec state is not the "
            "one that it was trained with."
        )
    if not errors[named] < 1:
        raise UserError(
            f"{origin} does not denoise this data: its mean squared error is {errors[named]} of that of a guess that "
            "looks at nothing (a good teacher is well below 1). Is it a teacher of these images, in the range "
            "[-1, 1], with this prediction?"
        )
    return errors


@torch.inference_mode()
def _error(teacher: Denoiser, clean: Tensor, noise: Tensor, told: Schedule) -> float:
    """Mean over the noise levels of the error of the predicted image, as a share of the best guess's.

    The noise in the images is always that of the teacher's own schedule; the network is told the level of schedule
    `told` that has as much of it.
    """
    contract, shares = teacher.contract, []
    theta = angles(contract.noise_schedule, contract.timesteps)
    other = angles(told, contract.timesteps)
    variance = float(clean.var(0, unbiased=False).mean())
    for angle in ANGLES:
        level = _nearest(theta, angle * math.pi / 2)
        alpha, sigma = math.cos(theta[level]), math.sin(theta[level])
        x = diffuse(clean, noise, teacher.schedule.alpha[level], teacher.schedule.sigma[level])
        named = _nearest(other, theta[level])
        at_once = max(AT_ONCE // x[0].numel(), 1)
        classes = [None] * len(x) if teacher.labels is None else torch.split(teacher.labels, at_once)
        parts = zip(torch.split(x, at_once), classes, strict=False)
        predicted = torch.cat([_predict(teacher.given(of), part, level, named) for part, of in parts])
        # Of a * mean image + b * x / alpha with the best a and b.
        guess = 1 / (1 / variance + (alpha / sigma) ** 2)
        shares.append(float((predicted - clean).square().mean()) / guess)
    return sum(shares) / len(shares)


def _predict(teacher: Denoiser, x: Tensor, level: int, told: int) -> Tensor:
    at, named = (torch.full((len(x),), number, device=x.device) for number in (level, told))
    return teacher.sample(teacher(x, named), x, at)


def _nearest(theta: np.ndarray, angle: float) -> int:
    """The level above clean data whose angle is nearest."""
    return int(np.abs(theta[1:] - angle).argmin()) + 1
