"""A student before its first iteration: the teacher's weights under another contract, or fresh ones."""

import torch
from attrs import evolve

from sfddm.errors import UserError
from sfddm.networks.contract import Contract
from sfddm.networks.denoiser import LUCIDRAINS, Denoiser, build, last_layer, unet_config
from sfddm.networks.edm import EDM
from sfddm.spec.parts import FromScratch, Start, TeachersNetwork

PARTS = ("weight", "bias")


def first_student(
    teacher: Denoiser, start: Start, seed: int, index_levels: tuple[int, ...] = (), two_times: bool = False
) -> Denoiser:
    """The network that a distillation starts from.

    Args:
        teacher: its schedule, and its weights where the start is a copy.
        start: copy or scratch, and what the student predicts.
        seed: of fresh weights.
        index_levels: phi_1..phi_T' for a student that is told its own index.
        two_times: whether it is told where to land as well. A copy starts by ignoring that.

    Raises:
        UserError: its network has no place for a second time.
    """
    prediction = teacher.contract.prediction if start.prediction == "same" else start.prediction
    contract: Contract = evolve(teacher.contract, prediction=prediction, index_levels=index_levels, two_times=two_times)
    own = start.network if isinstance(start, FromScratch) else TeachersNetwork(kind="teacher")
    undropped = {key: 0.0 if key == "dropout" else value for key, value in teacher.config.items()}
    classes = teacher.contract.classes
    config = undropped if isinstance(own, TeachersNetwork) else unet_config(own, teacher.image_shape, classes)
    config["out_channels"] = teacher.image_shape[0] * (2 if prediction == "epsilon-sample" else 1)
    if two_times and config.get("library") == LUCIDRAINS:
        raise UserError(
            f"a network of {config['library']} can't be told where a jump lands, as any-step students and the fakes of "
            "the distribution term at several steps are. Give an any-step student a network of its own, as in `start: "
            "{kind: scratch, prediction: v, network: {kind: unet2d, ...}}`; the term works at one step."
        )
    if two_times and classes and config.get("library") != EDM:
        raise UserError(
            "diffusers' networks have one place for a class and for where a jump lands, and this one would need both: "
            "any-step students and the distribution term at several steps need a network without classes, or "
            "`edm-unet2d`."
        )
    if two_times:
        config["class_embed_type"] = "timestep"
    student = build(config, contract, seed)
    if not isinstance(start, FromScratch):
        _copy(teacher, student)
    return student.to(teacher.device)


@torch.no_grad()
def _copy(teacher: Denoiser, student: Denoiser) -> None:
    """The teacher's weights; additional image channels, and what the second time adds, start at zero."""
    weights = dict(teacher.network.state_dict())
    for name in (f"{last_layer(teacher.network)}.{part}" for part in PARTS):
        padded = torch.zeros_like(student.network.state_dict()[name])
        padded[: len(weights[name])] = weights[name]  # of a patch, all pixels of a channel are next to each other
        weights[name] = padded
    for name, own in student.network.state_dict().items():
        # The second time is read as the first one is; what it adds starts at zero.
        if name.startswith("class_embedding.linear_1."):
            weights[name] = weights[name.replace("class_", "time_", 1)]
        elif name.startswith("class_embedding.linear_2."):
            weights[name] = torch.zeros_like(own)
    student.network.load_state_dict(weights)
