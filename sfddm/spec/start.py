"""What a student is before its first iteration."""

from typing import Literal

from attrs import frozen

from sfddm.spec.teacher import UNet2D

StudentPrediction = Literal["same", "v", "epsilon-sample"]
"""same: as the teacher. v: well conditioned at every level. epsilon-sample: both noise and image, each in channels of
its own, merged as v = alpha * noise - sigma * image (after Salimans and Ho 2022, section 4): what to give the student
of a teacher that predicts noise."""


@frozen(kw_only=True)
class FromTeacher:
    """A copy of the teacher.

    Under another prediction than the teacher's, its output is read as v, or as the noise with an image of zeros beside.
    """

    kind: Literal["teacher"]
    prediction: StudentPrediction


@frozen(kw_only=True)
class TeachersNetwork:
    """The teacher's own architecture."""

    kind: Literal["teacher"]


@frozen(kw_only=True)
class FromScratch:
    """Weights drawn from the run's seed, in the teacher's architecture or a smaller one."""

    kind: Literal["scratch"]
    prediction: StudentPrediction
    network: TeachersNetwork | UNet2D


Start = FromTeacher | FromScratch
