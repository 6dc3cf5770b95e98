"""How students are judged, which of them are registered, and what they must show to be promoted."""

from collections.abc import Iterator
from typing import Literal

from attrs import frozen

from sfddm.diffusion.solvers import Teaching
from sfddm.spec.fields import SHA256, Batch, Depth, ModelName, Name, Npz, Pixels, Positive, Samples, Seed, Share, Width
from sfddm.spec.index_set import IndexSet
from sfddm.spec.parse import Fault, SpecPath
from sfddm.spec.training import Training

MOST_CONVOLUTIONS = 16
"""Convolutions of a scorer, all but one of which halve the image."""
MOST_PATCHES = 256
"""Patches of an image, each of which attends to all: memory grows with their square."""


@frozen(kw_only=True)
class Convolutions:
    """3x3 convolutions with group normalisation."""

    kind: Literal["convolutions"]
    channels: tuple[Width, ...]
    """Width of each convolution; every one but the first halves the image."""

    def check(self, _: tuple[int, int, int], path: SpecPath) -> Iterator[Fault]:
        """Yield a fault where there are too many."""
        if len(self.channels) > MOST_CONVOLUTIONS:
            yield Fault(f"expected at most {MOST_CONVOLUTIONS} convolutions", (*path, "channels"))


@frozen(kw_only=True)
class Transformer:
    """A small vision transformer: attention between the patches of an image."""

    kind: Literal["transformer"]
    patch: Pixels
    """Height and width of a patch; those of the images are multiples of it."""
    width: Width
    """Numbers per patch, a multiple of the heads."""
    depth: Depth
    """Layers of attention."""
    heads: Width
    """Heads of each layer."""

    def patches(self, shape: tuple[int, int, int]) -> int:
        """How many patches an image of this shape has."""
        return (shape[1] // self.patch) * (shape[2] // self.patch)

    def check(self, shape: tuple[int, int, int], path: SpecPath) -> Iterator[Fault]:
        """Yield a fault where patches don't tile the images or are too many, or heads don't share the width."""
        if shape[1] % self.patch or shape[2] % self.patch:
            yield Fault(f"expected a divisor of {shape[1]} and {shape[2]}, the images' sides", (*path, "patch"))
        elif self.patches(shape) > MOST_PATCHES:
            yield Fault(f"{self.patches(shape)} patches per image: expected at most {MOST_PATCHES}", (*path, "patch"))
        if self.width % self.heads:
            yield Fault(f"expected a multiple of the {self.heads} heads", (*path, "width"))


Part = Literal["all", "first-half", "second-half"]
"""Which of the training images."""


@frozen(kw_only=True)
class Classifier:
    """A small classifier trained on the data alone; distances are taken in its last hidden layer."""

    kind: Literal["classifier"]
    network: Convolutions | Transformer
    """Its layers below the last hidden one."""
    features: Width
    """Width of the last hidden layer."""
    trained_on: Part
    """Which training images it learns from. The halves are random and disjoint, so that two classifiers need not have
    seen the same images, and each can be judged by real ones that it has not seen."""
    training: Training
    seed: Seed
    """Seed of its weights and of everything that its training draws."""


@frozen(kw_only=True)
class OwnStatistics:
    """`train_distance` is measured to the moments of the training split; all other figures use the held-out images."""

    kind: Literal["data"]


@frozen(kw_only=True)
class GivenStatistics:
    """`train_distance` is measured to moments from a file in the usual format, `mu` [D] and `sigma` [D, D]; all other
    figures use the held-out images."""

    kind: Literal["file"]
    file: Npz
    """A file in the folder of data sets (`SFDDM_DATA_ROOT`)."""
    sha256: SHA256
    """The hash of that file."""
    images: Samples
    """How many images the moments were computed from; the file doesn't say."""


Statistics = OwnStatistics | GivenStatistics
"""The moments that `train_distance` is measured to."""


@frozen(kw_only=True)
class Inception:
    """The network of the usual FID; docs/evaluation.md says where its weights are looked for."""

    kind: Literal["inception"]
    sha256: SHA256
    """The hash of the file with the weights."""
    statistics: Statistics


@frozen(kw_only=True)
class Torchvision:
    """A classification network of torchvision; distances are taken in the input of its last linear layer."""

    kind: Literal["torchvision"]
    model: ModelName
    """Torchvision's name for it: resnet18, vit_b_16, ..."""
    size: Pixels
    """Height and width, in pixels, to which images are resized; most published weights expect 224."""
    sha256: SHA256
    """The hash of the file with the weights."""
    statistics: Statistics


@frozen(kw_only=True)
class EfficientNet:
    """EfficientNet-Lite0, trained on ImageNet: 1280 features; a package of the extra `judges` has its weights."""

    kind: Literal["efficientnet"]


@frozen(kw_only=True)
class PixelValues:
    """No network: the pixels themselves, 2x2 of them averaged while there are more than 1024 numbers per image."""

    kind: Literal["pixels"]
    size: Pixels = 0
    """Optional: height and width, a divisor of the images', to which areas are averaged first. With fewer features,
    fewer images give a distance."""

    def check(self, shape: tuple[int, int, int], path: SpecPath) -> Iterator[Fault]:
        """Yield a fault where areas don't tile the images."""
        if self.size and (shape[1] % self.size or shape[2] % self.size):
            yield Fault(f"expected a divisor of {shape[1]} and {shape[2]}, the images' sides", (*path, "size"))


Scorer = Classifier | Inception | Torchvision | EfficientNet | PixelValues
"""The features in which images are compared, and the network that gives them."""


@frozen(kw_only=True)
class Reference:
    """The teacher's own sampler, whose images from the evaluation noises are what students should reproduce."""

    solver: Teaching
    index_set: IndexSet
    clip_sample: bool
    """Clip the predicted images to [-1, 1] while sampling."""


@frozen(kw_only=True)
class Evaluation:
    """The same noises, the same scorers and the same real images for every row of the comparison."""

    samples: Samples
    """n, the number of images per row."""
    noise_seed: Seed
    """Seed of the noises that all rows share."""
    batch_size: Batch
    margin: Share
    """A student is as good as its teacher if its distance is above the teacher's by less than this share of it, with a
    confidence of 95 %."""
    scorers: dict[Name, Scorer]
    """The panel, by names of your own: what they say is said only where all agree. Charts show the first one."""
    reference: Reference


@frozen(kw_only=True)
class Registry:
    """Which students become versions of which registered model."""

    model: Name
    """The registered model."""
    students: tuple[Name, ...]
    """The students whose runs become versions of it."""


Against = Literal["better", "not-worse", "any"]
"""What the paired difference of two Frechet distances must show to every scorer. better: its whole 95 % interval is
below 0; not-worse: it is not entirely above 0; any: nothing, the two are not compared."""
AgainstTeacher = Literal["as-good", "not-worse", "any"]
"""Likewise, with as-good: the whole interval is below the margin of the section `evaluation`."""


@frozen(kw_only=True)
class Gates:
    """The gates that `sfddm promote` holds a student's stored figures against."""

    samples: Samples
    """The smallest n: images that the figures come from."""
    agreement: Share
    """The smallest share of images in the class of the teacher's image from the same noise, to every scorer that has
    classes."""
    speed_up: Positive
    """The smallest speed-up over DDIM on all of the teacher's levels."""
    against_teacher: AgainstTeacher
    """The difference from the teacher's own images. as-good: the whole 95 % interval is below the margin; not-worse: it
    is not entirely above 0; any: not compared."""
    against_free: Against
    """The difference from the best free sampler of at most as many steps. better: the whole 95 % interval is below 0;
    not-worse: it is not entirely above 0; any: not compared."""
    against_champion: Against
    """The same for the present champion; asked only if the student is to become champion."""
