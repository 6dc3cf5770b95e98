"""How students are judged, which of them are registered, and what they must show to be promoted."""

from typing import Literal

from attrs import frozen

from sfddm.diffusion.solvers import Deterministic
from sfddm.spec.fields import SHA256, Batch, ModelName, Name, Npz, Pixels, Positive, Samples, Seed, Share, Width
from sfddm.spec.index_set import IndexSet
from sfddm.spec.training import Training

MOST_CONVOLUTIONS = 16
"""Of a scorer, all but one of which halve the image."""


@frozen(kw_only=True)
class Classifier:
    """A small convolutional classifier trained on the data alone; distances are taken in its last hidden layer."""

    kind: Literal["classifier"]
    channels: tuple[Width, ...]
    """Width of each 3x3 convolution; every one but the first halves the image."""
    features: Width
    """Width of the last hidden layer."""
    training: Training
    seed: Seed


@frozen(kw_only=True)
class OwnStatistics:
    """The real images' moments are those of the training split."""

    kind: Literal["data"]


@frozen(kw_only=True)
class GivenStatistics:
    """The real images' moments come from a file, as tools of the field write them: `mu` [D] and `sigma` [D, D]."""

    kind: Literal["file"]
    file: Npz
    """In the folder of data sets (`SFDDM_DATA_ROOT`)."""
    sha256: SHA256
    images: Samples
    """How many images they are of; the file doesn't say."""


Statistics = OwnStatistics | GivenStatistics


@frozen(kw_only=True)
class Inception:
    """The network of the usual FID; see `sfddm.evaluation.scorers.inception` for where its weights have to lie."""

    kind: Literal["inception"]
    sha256: SHA256
    """Of the file with the weights."""
    statistics: Statistics


@frozen(kw_only=True)
class Torchvision:
    """A classification network of torchvision; distances are taken in what its last linear layer is given."""

    kind: Literal["torchvision"]
    model: ModelName
    """As torchvision calls it: resnet18, vit_b_16, ..."""
    size: Pixels
    """Height and width, in pixels, to which images are resized; most of the published weights want 224."""
    sha256: SHA256
    """Of the file with the weights."""
    statistics: Statistics


Scorer = Classifier | Inception | Torchvision
"""Every kind of scorer."""


@frozen(kw_only=True)
class Reference:
    """The teacher's own sampler, whose images from the evaluation noises are what students should reproduce."""

    solver: Deterministic
    index_set: IndexSet
    clip_sample: bool


@frozen(kw_only=True)
class Evaluation:
    """The same noises, the same scorer and the same real images for every row of the comparison."""

    samples: Samples
    """n, the number of images a row."""
    noise_seed: Seed
    batch_size: Batch
    scorer: Scorer
    reference: Reference


@frozen(kw_only=True)
class Registry:
    """Which students become versions of which registered model."""

    model: Name
    students: tuple[Name, ...]


Against = Literal["better", "not-worse", "any"]
"""What the paired difference of two Frechet distances has to say. better: its whole 95 % interval lies below 0;
not-worse: it does not lie above 0; any: the two are not compared."""


@frozen(kw_only=True)
class Gates:
    """The gates that `sfddm promote` holds a student's stored figures against."""

    samples: Samples
    """n at least: images that the figures rest on."""
    distance_ratio: Positive
    """Frechet distance over the teacher's own, at most."""
    agreement: Share
    """Share of images in the class of the teacher's image from the same noise, at least."""
    speed_up: Positive
    """Against DDIM on all of the teacher's levels, at least."""
    against_ddim: Against
    """Compared with free DDIM, the best of the spec's `ddim` students with as many steps."""
    against_champion: Against
    """Compared with the present champion; asked where the student is to become champion itself."""
