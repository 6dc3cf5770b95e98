"""What a student has to show before an alias of its registered model may name it."""

from typing import Literal

from attrs import frozen

from sfddm.spec.fields import Positive, Samples, Share

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
