"""The images that teachers learn from and that students are judged by."""

from typing import Literal

from attrs import frozen

from sfddm.spec.fields import Count, Seed


@frozen(kw_only=True)
class Digits:
    """scikit-learn's 1797 real 8x8 grey digits; they come with the library, so nothing is downloaded."""

    kind: Literal["digits"]
    train: Count
    """Images in the training split; the rest are held out."""
    split_seed: Seed
    """Seed of the random split."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        return 1, 8, 8

    @property
    def size(self) -> int:
        """Images in the whole set."""
        return 1797


Data = Digits
"""Every kind of data set: a union as soon as there is a second one."""
