"""A folder in diffusers' format: its network, and what its scheduler's configuration says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
from diffusers import SchedulerMixin
from torch import Tensor

from sfddm.diffusion.prediction import Prediction
from sfddm.errors import UserError
from sfddm.networks.denoiser import Network
from sfddm.networks.layout import CONFIG, WEIGHTS
from sfddm.networks.storage import network_without_memory
from sfddm.networks.weights import put_weights, read_pickled, read_tensors
from sfddm.runtime.files import digest_file
from sfddm.spec.parse import StructureError, read_mapping, structure
from sfddm.spec.teacher import OwnBetas
from sfddm.teachers.candidate import Found, recognised
from sfddm.teachers.hub import COMMIT, PICKLE, SCHEDULER, fetch, given_path, weights_of

REPLACE = "Replace it by a whole one"
PREDICTIONS: dict[str, Prediction] = {"epsilon": "epsilon", "v_prediction": "v", "sample": "sample"}
"""Diffusers' names, and ours."""
RENAMED = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Layers of self-attention whose names diffusers has changed since the first models were published."""
CONVERT = (
    "python -c \"from diffusers import DDPMPipeline; DDPMPipeline.from_pretrained('FOLDER', use_safetensors=False)"
    ".save_pretrained('NEW-FOLDER', safe_serialization=True)\""
)


def find(model: str, revision: str) -> Found:
    """The teacher that a spec names, from the hub or, without a slash in the name, from a folder.

    Raises:
        UserError: it is not there, its content is not what the revision says, or it is not a teacher that can be used.
    """
    if "/" in model:
        folder = fetch(model, revision)
        commit = folder.name if COMMIT.fullmatch(folder.name) else revision
        return read(folder, f"{model} at {commit}", commit, published=bool(COMMIT.fullmatch(revision)))
    found = read(given_path(model), model, None, published=False)
    if found.pinned != revision:
        raise UserError(
            f"the weights of {model} have the SHA-256 {found.pinned}, and the spec's revision is {revision}: give the "
            "spec the one of the weights that you trust."
        )
    return found


def read(folder: Path, origin: str, commit: str | None, published: bool) -> Found:
    """The teacher in a folder.

    Args:
        folder: either layout of diffusers.
        origin: what errors call it.
        commit: of the hub, where it comes from there.
        published: whether a commit pins it, so that weights in a pickle may be read, for want of safetensors.

    Raises:
        UserError: a file is missing or damaged, or it is not a teacher that can be used.
    """
    weights = _weights(folder, origin, commit, published)
    network, dropout = _network(weights.with_name(CONFIG))
    tensors = read_pickled(weights, None) if weights.name == PICKLE else read_tensors(weights, remedy=REPLACE)
    put_weights(network, _renamed(tensors, weights), weights)
    scheduler = _scheduler(folder)
    config = scheduler.config
    alpha_bar = np.asarray(scheduler.alphas_cumprod, dtype=np.float64)
    prediction = PREDICTIONS.get(config.get("prediction_type", "epsilon"))
    if prediction is None:
        raise UserError(f"{origin} predicts {config['prediction_type']!r}: expected one of {', '.join(PREDICTIONS)}.")
    rescaled = ", zero terminal SNR" if config.get("rescale_betas_zero_snr") else ""
    words = f"{config.get('beta_schedule')} ({config.get('beta_start')} to {config.get('beta_end')}{rescaled})"
    return Found(
        origin=origin,
        pinned=commit or digest_file(weights),
        network=network,
        timesteps=len(alpha_bar),
        noise_schedule=recognised(alpha_bar, _betas(config)),
        schedule_words=words,
        prediction=prediction,
        dropout=dropout,
    )


def _weights(folder: Path, origin: str, commit: str | None, published: bool) -> Path:
    safe, pickled = weights_of(folder, WEIGHTS), weights_of(folder, PICKLE)
    if safe is not None:
        return safe
    if commit is not None and not published:
        raise UserError(
            f"{origin} has no {WEIGHTS}. A pickle of weights ({PICKLE}) is read from a commit alone, which stays what "
            f"it is: give the spec `revision: {commit}`."
        )
    if pickled is None:
        raise UserError(f"{origin}: neither {folder / WEIGHTS} nor {folder / 'unet' / WEIGHTS} is there.")
    if not published:
        raise UserError(
            f"{pickled} is a pickle where safetensors are expected: nothing of it was loaded. If you trust it, convert "
            f"it with diffusers:\n{CONVERT}"
        )
    return pickled


def _network(path: Path) -> tuple[Network, float]:
    """The described network without its dropout, and what that was.

    It was for the training that made the teacher: copies of it drop nothing, like those of teachers trained here.
    """
    described = dict(read_mapping(path))
    if described.get("_class_name", "UNet2DModel") != "UNet2DModel":
        raise UserError(f"{path} describes a {described['_class_name']}: expected a UNet2DModel.")
    config = {key: value for key, value in described.items() if not key.startswith("_")}
    size = config.get("sample_size")
    config["sample_size"] = [size, size] if isinstance(size, int) else list(size or [])
    odd = config.get("class_embed_type")
    channels = (config.get("in_channels"), config.get("out_channels"))
    if odd or len(config["sample_size"]) != 2 or channels[0] != channels[1]:
        raise UserError(
            f"{path}: expected a network for images of a fixed size, with as many channels out as in; "
            f"found {channels[0]} in, {channels[1]} out, sample_size {size}, class embedding {odd or 'none'}."
        )
    classes = config.pop("num_class_embeds", None)
    if classes:
        config["num_class_embeds"] = classes  # diffusers takes 0 for a network that is told one
    dropout = config.get("dropout") or 0.0
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise UserError(f"{path}: its dropout is {dropout!r}: expected a number from 0 to 1 (1 excluded).")
    return network_without_memory(path, {**config, "dropout": 0.0}), float(dropout)


def _renamed(tensors: dict[str, Any], path: Path) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise UserError(f"{path}: {name!r} is not a tensor.")
        *before, layer, part = name.split(".") if "." in name else ("", "", name)
        attention = len(before) > 1 and before[-2] == "attentions"
        renamed[".".join([*before, RENAMED[layer], part]) if attention and layer in RENAMED else name] = tensor
    return renamed


def _betas(config: Mapping[str, Any]) -> OwnBetas | None:
    """The betas of a scheduler's configuration; None if a spec can't express them."""
    said = {key: config.get(key) for key in ("beta_schedule", "beta_start", "beta_end")}
    said |= {"beta_schedule": str(said["beta_schedule"]).replace("_", "-")}
    rescaled = bool(config.get("rescale_betas_zero_snr"))
    try:
        return structure({"kind": "betas", **said, "zero_terminal_snr": rescaled}, OwnBetas)
    except StructureError:
        return None


def _scheduler(folder: Path) -> Any:
    nested = folder / "scheduler" / SCHEDULER
    path = nested if nested.exists() else folder / SCHEDULER
    config = dict(read_mapping(path))
    kind = getattr(diffusers, str(config.get("_class_name")), None)
    if not isinstance(kind, type) or not issubclass(kind, SchedulerMixin):
        raise UserError(f"{path} describes no scheduler of diffusers: {config.get('_class_name')!r}.")
    make: Any = kind
    try:
        scheduler = make.from_config(config)
    except Exception as error:  # diffusers raises anything on what is not a configuration of its own
        raise UserError(f"{path} describes no scheduler: {error}") from None
    if not hasattr(scheduler, "alphas_cumprod"):
        raise UserError(f"{path}: a {config['_class_name']} has no discrete noise levels, so it can't be a teacher.")
    return scheduler
