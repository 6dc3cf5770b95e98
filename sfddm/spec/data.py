"""The images that teachers learn from and that students are judged by."""

from typing import Annotated, ClassVar, Literal

from attrs import frozen

from sfddm.spec.fields import Bound, Count, Seed


@frozen(kw_only=True)
class Digits:
    """scikit-learn's 1797 real 8x8 grey digits; they come with the library, so nothing is downloaded."""

    kind: Literal["digits"]
    train: Count
    """Images in the training split; the rest are held out."""
    split_seed: Seed
    """Seed of the random split."""

    images: ClassVar[int] = 1797
    """In the whole set."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        return 1, 8, 8


@frozen(kw_only=True)
class FashionMNIST:
    """70,000 grey pictures of clothes in ten classes (Xiao et al. 2017), split 60,000 to 10,000 by their authors."""

    kind: Literal["fashion-mnist"]
    size: Annotated[int, Bound(1, 28)]
    """Height and width, in pixels, to which the 28x28 pixels of the original are averaged; 28 keeps them."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        return 1, self.size, self.size


Data = Digits | FashionMNIST
"""Every kind of data set."""
