"""How students are judged, and which of them are registered."""

from typing import Literal

from attrs import frozen

from sfddm.diffusion.sampler import Deterministic
from sfddm.spec.fields import Batch, Name, Samples, Seed, Width
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
    scorer: Classifier
    reference: Reference


@frozen(kw_only=True)
class Registry:
    """Which students become versions of which registered model."""

    model: Name
    students: tuple[Name, ...]
