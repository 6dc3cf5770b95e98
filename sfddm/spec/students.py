"""How a student is made from its teacher: one class per method, with the parts that methods share."""

from typing import Literal

from attrs import frozen

from sfddm.diffusion.solvers import Deterministic
from sfddm.spec.fields import Count, Levels, Name, Noises, Positive, Seed, Share, Weight
from sfddm.spec.index_set import IndexSet
from sfddm.spec.teacher import UNet2D
from sfddm.spec.training import Training

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


@frozen(kw_only=True)
class Cache:
    """The teacher's own trajectories from noise, computed once before training; they need no images."""

    noises: Noises
    """How many trajectories."""
    seed: Seed
    solver: Deterministic
    substeps: Levels
    """Solver steps inside each segment of the index set, evenly in angle."""
    clip_sample: bool
    """Clip the solver's predicted images to [-1, 1]."""


@frozen(kw_only=True)
class TrajectorySource:
    """States of the teacher's trajectories: the jump from one should land on the next."""

    kind: Literal["trajectory"]
    share: Positive
    """Of each batch, relative to the other sources'."""
    cache: Cache


@frozen(kw_only=True)
class RolloutSource:
    """The student's own states on the way from the same noises: its jump should come back to the trajectory."""

    kind: Literal["rollout"]
    share: Positive
    """Of each batch, relative to the other sources'."""
    cache: Cache


@frozen(kw_only=True)
class DataSource:
    """Real images, noised; the teacher's DDIM sub-steps then give the state where the jump should land."""

    kind: Literal["data"]
    share: Positive
    """Of each batch, relative to the other sources'."""
    substeps: Levels


Source = TrajectorySource | RolloutSource | DataSource


@frozen(kw_only=True)
class DDIM:
    """The teacher itself under DDIM on the index set: free, and the row that every student has to beat."""

    kind: Literal["ddim"]


@frozen(kw_only=True)
class DPMSolver:
    """The teacher itself under DPM-Solver++(2M) on the index set: free."""

    kind: Literal["dpm-solver"]


@frozen(kw_only=True)
class AngleMultistep:
    """The teacher itself under a two-step exponential integrator in the angle on the index set: free."""

    kind: Literal["angle-2m"]


@frozen(kw_only=True)
class Ancestral:
    """The teacher itself under DDPM's ancestral sampler on the index set: free."""

    kind: Literal["ancestral"]


@frozen(kw_only=True)
class Resampled:
    """Another student of the spec, of the same seed, sampled on this index set: free once that student is there."""

    kind: Literal["resampled"]
    student: Name


@frozen(kw_only=True)
class SFDDM:
    """Single-fold distillation: one training run for any index set."""

    kind: Literal["sfddm"]
    start: Start
    time_input: Literal["level", "index"]
    """What the network is told of time: the teacher's noise level, or the student's own index k."""
    sources: tuple[Source, ...]
    output: OutputTerm
    hidden: HiddenTerm
    feature: FeatureTerm
    training: Training


@frozen(kw_only=True)
class AnyStep:
    """One network that is told where it stands and where it should land: trained once, sampled on any index set.

    Its own index set is the grid that its training jumps on.
    """

    kind: Literal["any-step"]
    start: Start
    cache: Cache
    """Trajectories through the student's index set."""
    unaligned: Share
    """Share of jumps between any two levels of the grid; the others have lengths 1, 2, 4, ... at aligned places."""
    hidden: HiddenTerm
    feature: FeatureTerm
    """Of jumps that land above clean data."""
    training: Training


@frozen(kw_only=True)
class Progressive:
    """Progressive distillation: each fold halves the number of steps (Salimans and Ho 2022)."""

    kind: Literal["progressive"]
    start: Start
    """Of the first fold; every later one starts from the student of the fold before."""
    start_steps: Count
    """Steps of the sampler that the first fold halves: T' times a power of two."""
    distance: Distance
    weighting: Weighting
    training: Training
    """Of all folds together: each has an equal part of the iterations, and a learning rate that rises and falls."""


@frozen(kw_only=True)
class Consistency:
    """Consistency distillation: any state of a trajectory to its end; several steps add noise again (Song et al. 2023).

    The student's index set has to lie on the grid.
    """

    kind: Literal["consistency"]
    start: Start
    grid: IndexSet
    distance: Distance
    weighting: Weighting
    training: Training
    """`average` is also that of the network that gives the targets."""


@frozen(kw_only=True)
class TRACT:
    """Transitive closure: any state of a segment to the segment's end, in one training (Berthelot et al. 2023)."""

    kind: Literal["tract"]
    start: Start
    substeps: Levels
    """Teacher steps inside each segment, evenly in angle."""
    distance: Distance
    weighting: Weighting
    training: Training
    """`average` is also that of the network that gives the targets."""


Method = DDIM | DPMSolver | AngleMultistep | Ancestral | Resampled | SFDDM | AnyStep | Progressive | Consistency | TRACT
Trained = SFDDM | AnyStep | Progressive | Consistency | TRACT
"""Methods that train a network, in the one training loop."""
FREE = (DDIM, DPMSolver, AngleMultistep, Ancestral)
"""Methods that train nothing: the teacher under another sampler."""


def any_steps(method: Method) -> bool:
    """Whether its students can be sampled on index sets other than their own."""
    return isinstance(method, AnyStep | Consistency) or (isinstance(method, SFDDM) and method.time_input == "level")
