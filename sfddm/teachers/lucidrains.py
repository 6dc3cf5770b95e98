"""A checkpoint of denoising-diffusion-pytorch: its Unet, and the diffusion's schedule and objective.

The library's GaussianDiffusion keeps its schedule among its tensors; `loss_weight` tells what the network predicts.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from sfddm.diffusion.prediction import Prediction
from sfddm.errors import UserError
from sfddm.networks.denoiser import LUCIDRAINS
from sfddm.networks.storage import network_without_memory
from sfddm.networks.weights import put_weights, read_pickled
from sfddm.runtime.files import digest_file
from sfddm.teachers.candidate import Found, recognised

SCHEDULE, LOSS_WEIGHT = "alphas_cumprod", "loss_weight"


def read(path: Path, sha256: str | None, weights: Literal["ema", "last"], size: tuple[int, int]) -> Found:
    """The teacher in a checkpoint, for images of `size` (height, width), which the file doesn't say.

    Args:
        path: what the library's Trainer saves, or the state dict of its GaussianDiffusion.
        sha256: of the file's content; None where it is only looked at.
        weights: the moving average, or the last ones.
        size: height and width of the images.

    Raises:
        UserError: it can't be read, or it is not a checkpoint of a Unet that is known here.
    """
    state = _diffusion(read_pickled(path, sha256), weights, path)
    config = _config(state, size, path)
    network = network_without_memory(path, config)
    prefix = "model."
    unet = {f"unet.{name.removeprefix(prefix)}": state[name] for name in state if name.startswith(prefix)}
    put_weights(network, unet, path)
    alpha_bar = np.asarray(state[SCHEDULE], dtype=np.float64)
    return Found(
        origin=f"{path.name} ({weights} weights)",
        pinned=sha256 or digest_file(path),
        network=network,
        timesteps=len(alpha_bar),
        noise_schedule=recognised(alpha_bar),
        schedule_words=f"one whose alpha_bar falls from {alpha_bar[0]:.6f} to {alpha_bar[-1]:.2g}",
        prediction=_prediction(alpha_bar, state, path),
    )


def _diffusion(content: Mapping[str, Any], weights: str, path: Path) -> dict[str, Tensor]:
    """The state dict of the GaussianDiffusion with the wanted weights."""
    if isinstance(content.get("model"), Mapping):
        average, last = content.get("ema"), content["model"]
    else:
        average, last = None, content
    if weights == "ema":
        if not isinstance(average, Mapping):
            raise UserError(f"{path} has no moving average: say `weights: last`.")
        prefix = "ema_model."
        last = {name.removeprefix(prefix): value for name, value in average.items() if name.startswith(prefix)}
    state = {name: value for name, value in last.items() if isinstance(value, Tensor)}
    if SCHEDULE not in state or LOSS_WEIGHT not in state or "model.init_conv.weight" not in state:
        raise UserError(
            f"{path} is not a checkpoint of {LUCIDRAINS}'s GaussianDiffusion with its Unet: expected what its Trainer "
            "saves, or the state dict of the diffusion."
        )
    return state


def _config(state: Mapping[str, Tensor], size: tuple[int, int], path: Path) -> dict[str, Any]:
    """The configuration of the Unet, as far as its tensors show it."""
    try:
        first = state["model.init_conv.weight"]
        levels = len({name.split(".")[2] for name in state if name.startswith("model.downs.")})
        memories = [state[f"model.downs.{level}.2.mem_kv"] for level in range(levels)]
        linear = [f"model.downs.{level}.2.to_out.1.g" in state for level in range(levels)]
        # Full attention keeps [2, heads, memories, width], linear attention [2, heads, width, memories].
        widths = [kept.shape[2 if is_linear else 3] for kept, is_linear in zip(memories, linear, strict=True)]
        ends = [f"model.downs.{level}.3{'.1' if level + 1 < levels else ''}.weight" for level in range(levels)]
        config = {
            "library": LUCIDRAINS,
            "sample_size": list(size),
            "in_channels": first.shape[1],
            "out_channels": state["model.final_conv.weight"].shape[0],
            "block_out_channels": [first.shape[0], *(state[end].shape[0] for end in ends)],
            "layers_per_block": 2,
            "dim": state["model.time_mlp.1.weight"].shape[0] // 4,
            "full_attn": [not is_linear for is_linear in linear],
            "attn_heads": [kept.shape[1] for kept in memories],
            "attn_dim_head": widths,
        }
    except (KeyError, IndexError, ValueError) as error:
        raise UserError(f"{path} has a Unet that is not known here ({error!r}): another version of {LUCIDRAINS}, "
                        "or one of its other networks.") from None  # fmt: skip
    if "model.time_mlp.0.weights" in state or config["in_channels"] != config["out_channels"]:
        raise UserError(
            f"{path}: expected a Unet with as many channels out as in and sinusoidal times, without self-conditioning "
            f"or learned variance; it has {config['in_channels']} in and {config['out_channels']} out."
        )
    return config


def _prediction(alpha_bar: np.ndarray, state: Mapping[str, Tensor], path: Path) -> Prediction:
    """The prediction whose loss weight fits where the SNR is about a half: 1 for noise, SNR for the image, or for v
    SNR/(SNR+1)."""
    snr = alpha_bar / (1 - alpha_bar)
    level = int(np.abs(np.log(snr * 2)).argmin())
    weight, ratio = float(state[LOSS_WEIGHT][level]), float(snr[level])
    known: dict[Prediction, float] = {"epsilon": 1.0, "sample": ratio, "v": ratio / (ratio + 1)}
    for prediction, expected in known.items():
        if math.isclose(weight, expected, rel_tol=0.01):
            return prediction
    raise UserError(f"{path}: its loss weights are of no objective that is known here.")
