"""The weights in a pickle that EDM's training wrote (Karras et al. 2022), under the names of our network.

`sfddm.teachers.inert` reads the file; only tensors are kept, and the dropout that the network was trained with.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from sfddm.diffusion.prediction import SIGMA_DATA
from sfddm.errors import UserError
from sfddm.networks.denoiser import unet_config
from sfddm.networks.edm import EDMUNet2DModel, kernel_of
from sfddm.networks.weights import write_tensors
from sfddm.runtime.files import atomic_file
from sfddm.spec.parse import StructureError, structure, unstructure
from sfddm.spec.teacher import EDMUNet2D
from sfddm.teachers.inert import Inert, Numbers, read_inert
from sfddm.teachers.tensors import ABOUT, About

PLACE = re.compile(r"(enc|dec)\.([1-9][0-9]{0,4})x[0-9]+_([a-z_]+)([0-9]{0,3})\.([a-z0-9_.]+)")
"""Side, height, role, number and part of a tensor's name in EDM's networks."""
OUTSIDE = {
    "map_noise.freqs": "frequencies",
    "map_label.weight": "label_embedding.weight",
    "map_label.bias": "label_embedding.bias",
    **{
        f"map_layer{at}.{kind}": f"time_embedding.linear_{at + 1}.{kind}"
        for at in (0, 1)
        for kind in ("weight", "bias")
    },
    "out_norm.weight": "conv_norm_out.weight",
    "out_norm.bias": "conv_norm_out.bias",
    "out_conv.weight": "conv_out.weight",
    "out_conv.bias": "conv_out.bias",
}
"""Names of the tensors that belong to no block, and ours."""
PARTS = {
    "norm0": "norm1", "conv0": "conv1", "affine": "time", "norm1": "norm2", "conv1": "conv2", "skip": "shortcut",
    "norm2": "attention.norm", "qkv": "attention.qkv", "proj": "attention.out",
}  # fmt: skip
"""Parts of a block, and ours."""
FILTER, AUGMENTATION = "resample_filter", "map_augment.weight"
"""Tensors that are not taken over: the architecture says the filter, and images are drawn without augmentation."""
TIMES = "map_layer0.weight"
"""The weights that take the features of times: cosines before sines in ADM, sines before cosines in all of ours."""
SONG_CLASS, ADM_CLASS = "SongUNet", "DhariwalUNet"
"""EDM's classes of networks."""


def convert(pickled: Path, out: Path) -> None:
    """Write the averaged weights of a `network-snapshot` as safetensors, with what their network is.

    Raises:
        UserError: it is not such a file, or of a network that EDM's training doesn't make, or not under EDM's own
            preconditioning; or `out` is there already.
    """
    if out.suffix != ".safetensors":
        raise UserError(f"{out}: expected the name of a .safetensors file.")
    if out.exists():
        raise UserError(f"{out} is there already: give the name of a new file.")
    whole = _average(pickled)
    try:
        tensors = dict(_tensors(whole))
        about = _described(whole, tensors, pickled)
        with torch.device("meta"):
            wanted = EDMUNet2DModel(**unet_config(about.network, about.shape, about.classes)).state_dict()
        weights = _renamed(tensors, about, wanted, pickled)
    except UserError:
        raise
    except Exception as error:  # whatever is not as in EDM's networks fails somewhere
        raise UserError(f"{pickled} has a network that is not known here ({error!r}).") from None
    shapes = [{name: tuple(tensor.shape) for name, tensor in of.items()} for of in (weights, wanted)]
    if shapes[0] != shapes[1]:
        name = min(name for name, _ in shapes[0].items() ^ shapes[1].items())
        raise UserError(
            f"{pickled} has a network that is not known here: {name!r} (ours) is of another shape "
            "than in EDM's own, or only one of them has it."
        )
    with atomic_file(out) as path:
        write_tensors(path, weights, {ABOUT: json.dumps(unstructure(about))})


def _average(path: Path) -> Inert:
    """The network under its preconditioning, as inert objects."""
    content = read_inert(path)
    found = content.get("ema") if isinstance(content, Mapping) else None
    if not isinstance(found, Inert) or not isinstance(found.state.get("_modules"), Mapping):
        raise UserError(f"{path} is no network-snapshot of EDM: it has no network under 'ema'.")
    return found


def _described(whole: Inert, tensors: Mapping[str, Tensor], path: Path) -> About:
    """The network that the weights belong to, and its images, within the bounds of a spec."""
    model = whole.state["_modules"].get("model")
    names = (whole.name, model.name if isinstance(model, Inert) else "none")
    if (
        names not in (("EDMPrecond", SONG_CLASS), ("EDMPrecond", ADM_CLASS))
        or whole.state.get("sigma_data") != SIGMA_DATA
    ):
        raise UserError(
            f"{path} has a {names[1]} under {names[0]}: expected a {SONG_CLASS} (DDPM++ or NCSN++) or a {ADM_CLASS} "
            f"(ADM) under EDMPrecond, with sigma_data {SIGMA_DATA}."
        )
    adm = names[1] == ADM_CLASS
    size = whole.state["img_resolution"]
    levels = range(sum(re.fullmatch(r"enc\.\d+x\d+_block0\.conv0\.weight", name) is not None for name in tensors))
    firsts = [f"enc.{size >> level}x{size >> level}_block0" for level in levels]
    blocks = sum(re.fullmatch(rf"enc\.{size}x{size}_block\d+\.conv0\.weight", name) is not None for name in tensors)
    first, channels = tensors[f"enc.{size}x{size}_conv.weight"].shape[:2]
    network = {
        "kind": "edm-unet2d",
        "architecture": "adm" if adm else "ncsn++" if "map_noise.freqs" in tensors else "ddpm++",
        "base_channels": tensors[TIMES].shape[1] if adm else first,
        "channels": [tensors[f"{name}.conv0.weight"].shape[0] for name in firsts],
        "attention": [f"{name}.qkv.weight" in tensors for name in firsts],
        "layers_per_block": blocks,
        "dropout": max((each.state["dropout"] for each in _modules(model) if "dropout" in each.state), default=0.0),
    }
    classes = tensors["map_label.weight"].shape[1] if "map_label.weight" in tensors else 0
    try:
        about = structure(
            {"network": network, "channels": channels, "height": size, "width": size, "classes": classes}, About
        )
    except StructureError as error:
        raise UserError(f"{path} has a network that is not known here: {error}.") from None
    if faults := [fault.message for fault in about.network.check(about.shape, ())]:
        raise UserError(f"{path} has a network that is not known here: {'; '.join(faults)}.")
    return about


def _renamed(tensors: Mapping[str, Tensor], about: About, wanted: Iterable[str], path: Path) -> dict[str, Tensor]:
    """The tensors under our names, and the filters that belong to them."""
    network = about.network
    assert isinstance(network, EDMUNet2D)
    kernel = kernel_of(network.architecture)
    renamed = {}
    for name, tensor in tensors.items():
        if name == AUGMENTATION:
            continue
        ours = OUTSIDE.get(name) or _place(name, about.height, len(network.channels))
        if name.endswith(FILTER):
            if tensor.shape != kernel.shape or not torch.allclose(tensor, kernel):
                raise UserError(f"{path} has a network that is not known here: {name} is another filter.")
            continue
        if ours in renamed:
            raise UserError(f"{path} has a network that is not known here: two tensors in place of {ours}.")
        if ours.endswith(("attention.qkv.weight", "attention.qkv.bias")):
            # Query, key and value of each channel are next to each other; ours are one after the other.
            tensor = tensor.reshape(-1, 3, *tensor.shape[1:]).transpose(0, 1).flatten(0, 1)
        if name == TIMES and network.architecture == "adm":
            # Its cosines come first, and ours last.
            tensor = tensor.roll(tensor.shape[1] // 2, dims=1)
        renamed[ours] = tensor.float().contiguous()
    renamed |= {name: kernel.clone() for name in wanted if name.endswith(".kernel")}
    return renamed


def _place(name: str, size: int, levels: int) -> str:
    match = PLACE.fullmatch(name)
    if match is None:
        return name
    side, height, role, number, part = match.groups()
    level = (size // int(height)).bit_length() - 1
    stage = f"down.{level}" if side == "enc" else f"up.{levels - 1 - level}"
    first, _, rest = part.partition(".")
    of_block = f"{PARTS.get(first, first)}.{rest}"
    places = {
        "conv": f"conv_in.{part}",
        "aux_residual": f"{stage}.aside.{0 if part == 'weight' else 1}.{part}",
        "aux_norm": f"conv_norm_out.{part}",
        "aux_conv": f"conv_out.{part}",
        "down": f"{stage}.resized.{of_block}",
        "up": f"{stage}.resized.{of_block}",
        "in": f"middle.{number}.{of_block}",
        "block": f"{stage}.blocks.{number}.{of_block}",
    }
    return places.get(role, name)


def _tensors(whole: Inert) -> Iterator[tuple[str, Tensor]]:
    """The tensors of the network under the preconditioning, by EDM's names."""
    yield from _of_module(whole.state["_modules"]["model"], "")


def _of_module(module: Inert, before: str) -> Iterator[tuple[str, Tensor]]:
    for kind in ("_parameters", "_buffers"):
        for name, value in (module.state.get(kind) or {}).items():
            if isinstance(value, Numbers):
                yield f"{before}{name}", value.tensor
    for name, part in (module.state.get("_modules") or {}).items():
        if isinstance(part, Inert):
            yield from _of_module(part, f"{before}{name}.")


def _modules(module: Inert) -> Iterator[Inert]:
    yield module
    for part in (module.state.get("_modules") or {}).values():
        if isinstance(part, Inert):
            yield from _modules(part)
