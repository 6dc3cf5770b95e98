"""The terms of a distillation loss."""

from typing import Literal

from attrs import frozen

from sfddm.spec.fields import Weight

Distance = Literal["mse", "l1", "pseudo-huber"]
"""pseudo-huber: sqrt(mean e^2 + c^2) - c an image, c = 0.03 (after Song and Dhariwal 2023, section 3.3)."""
Weighting = Literal["snr+1", "truncated-snr", "min-snr"]
"""Of the squared error of the image: SNR + 1, which is the plain squared error of v; max(SNR, 1) (both Salimans and Ho
2022); min(SNR, 5) (Hang et al. 2023)."""


@frozen(kw_only=True)
class OutputTerm:
    """The student's output against the teacher's at the same state."""

    weight: Weight
    distance: Literal["l1", "mse"]


@frozen(kw_only=True)
class HiddenTerm:
    """The student's one jump against the hidden variable that the teacher reaches: a distance in v."""

    weight: Weight
    distance: Distance
    weighting: Weighting


@frozen(kw_only=True)
class FeatureTerm:
    """Mean absolute difference of the activations before the last normalisation."""

    weight: Weight
    state: Literal["same", "landing"]
    """The teacher's features where the student stands (the published code), or where its jump lands (look-ahead)."""
