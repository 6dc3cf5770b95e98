"""The images that teachers learn from and that students are judged by."""

from typing import Annotated, ClassVar, Literal

from attrs import frozen

from sfddm.spec.fields import MOST, Bound, Count, FolderPath, Pixels, Seed

Crop = Literal["center", "stretch"]
"""How an image becomes a square. center: the largest square in the middle; stretch: all of it, squeezed."""


class _Square:
    """Published images, as high as they are wide."""

    size: int
    channels: ClassVar[int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        return self.channels, self.size, self.size


class _Grey(_Square):
    """70,000 grey pictures in ten classes, never mirrored."""

    images: ClassVar[int] = 70_000
    labelled: ClassVar[bool] = True
    channels: ClassVar[int] = 1


@frozen(kw_only=True)
class Digits:
    """scikit-learn's 1797 real 8x8 grey digits; they come with the library, so nothing is downloaded."""

    kind: Literal["digits"]
    train: Count
    """Images in the training split, fewer than all; the rest are held out."""
    split_seed: Seed
    """Seed of the random split."""

    images: ClassVar[int] = 1797
    """Images in the whole set."""
    labelled: ClassVar[bool] = True
    """Whether each image has a class, from which a scorer can learn."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        return 1, 8, 8


@frozen(kw_only=True)
class MNIST(_Grey):
    """70,000 grey handwritten digits (LeCun et al. 1998), split 60,000 to 10,000 by their authors."""

    kind: Literal["mnist"]
    size: Annotated[int, Bound(1, 32)]
    """Height and width in pixels. Below 28, the 28x28 pixels of the original are averaged; above, black is put around
    them."""


@frozen(kw_only=True)
class FashionMNIST(_Grey):
    """70,000 grey pictures of clothes in ten classes (Xiao et al. 2017), split 60,000 to 10,000 by their authors."""

    kind: Literal["fashion-mnist"]
    size: Annotated[int, Bound(1, 32)]
    """Height and width in pixels. Below 28, the 28x28 pixels of the original are averaged; above, black is put around
    them."""


@frozen(kw_only=True)
class CIFAR10(_Square):
    """60,000 colour photos in ten classes (Krizhevsky 2009), split 50,000 to 10,000 by their author."""

    kind: Literal["cifar10"]
    size: Annotated[int, Bound(1, 32)]
    """Height and width, in pixels, to which the 32x32 pixels of the original are averaged; 32 keeps them."""
    flip: bool
    """Mirror half of the images of each training batch, at random, left to right."""

    images: ClassVar[int] = 60_000
    labelled: ClassVar[bool] = True
    channels: ClassVar[int] = 3


@frozen(kw_only=True)
class CelebAHQ(_Square):
    """30,000 faces (Karras et al. 2018) in the usual folder of 256x256 pixels, without classes; all are trained on."""

    kind: Literal["celeba-hq"]
    images: Count
    """How many, the first in the order of their names; the set has 30,000."""
    size: Annotated[int, Bound(1, 256)]
    """Height and width, in pixels, that images are resized to; 256 keeps them."""
    flip: bool
    """Mirror half of the images of each training batch, at random, left to right."""

    labelled: ClassVar[bool] = False
    channels: ClassVar[int] = 3


@frozen(kw_only=True)
class LSUN(_Square):
    """Photos of one kind of scene (Yu et al. 2015), 256 pixels on their shorter side; all are trained on."""

    kind: Literal["lsun"]
    category: Literal["bedroom", "church_outdoor"]
    """3,033,042 bedrooms, or 126,227 churches."""
    images: Count
    """How many, the first in the order of their keys, which are hashes."""
    crop: Crop
    size: Annotated[int, Bound(1, 256)]
    """Height and width, in pixels, that images are resized to."""
    flip: bool
    """Mirror half of the images of each training batch, at random, left to right."""

    labelled: ClassVar[bool] = False
    channels: ClassVar[int] = 3


@frozen(kw_only=True)
class Folder:
    """All images (.png, .jpg, .jpeg, .webp, .bmp) in a folder of yours and in the folders inside it."""

    kind: Literal["folder"]
    path: FolderPath
    """A folder in the folder of data sets (`SFDDM_DATA_ROOT`)."""
    channels: Literal[1, 3]
    """1: grey, 3: colour; images of the other kind are converted."""
    crop: Crop
    size: Pixels
    """Height and width, in pixels, that images are resized to. None may be smaller."""
    flip: bool
    """Mirror half of the images of each training batch, at random, left to right."""
    labels: Literal["none", "folders"]
    """folders: each class has a folder of its own; classes are numbered in the order of the folders' names. none: the
    images have no classes, and scorers have to be trained already, or need none."""
    held_out: Annotated[int, Bound(0, MOST)]
    """Images kept from training, at random, which distances are measured to; 0 measures them to training images."""
    split_seed: Seed
    """Seed of that choice."""
    corrupt: Literal["refuse", "skip"]
    """What to do about images that can't be used: name all of them and stop, or leave them out and name them."""

    @property
    def labelled(self) -> bool:
        """Whether each image has a class, from which a scorer can learn."""
        return self.labels == "folders"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        return self.channels, self.size, self.size


Data = Digits | MNIST | FashionMNIST | CIFAR10 | CelebAHQ | LSUN | Folder
"""The images that teachers learn from and that students are judged by."""
