"""How a student is made from its teacher, one class a method."""

from typing import Literal

from attrs import frozen

from sfddm.spec.fields import Count, Levels, Name, Share
from sfddm.spec.index_set import IndexSet
from sfddm.spec.sources import Cache, Source
from sfddm.spec.start import Start
from sfddm.spec.terms import Distance, FeatureTerm, HiddenTerm, OutputTerm, Weighting
from sfddm.spec.training import Training


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
