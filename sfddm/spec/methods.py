"""How a student is made from its teacher, one class a method."""

from typing import Literal

from attrs import frozen

from sfddm.spec.fields import Count, Seed, Weight
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
class Ancestral:
    """The teacher itself under DDPM's ancestral sampler on the index set: free."""

    kind: Literal["ancestral"]


@frozen(kw_only=True)
class TrajectorySource:
    """States of the teacher's own trajectories from noise, computed once before training; needs no images."""

    kind: Literal["trajectory"]
    noises: Count
    """How many trajectories."""
    seed: Seed
    solver: Literal["ddim", "dpm-solver"]
    substeps: Count
    """Solver steps inside each segment of the index set."""
    clip_sample: bool
    """Clip the solver's predicted images to [-1, 1]."""


@frozen(kw_only=True)
class DataSource:
    """Real images, noised; the teacher's DDIM sub-steps then give the state where the jump should land."""

    kind: Literal["data"]
    substeps: Count


@frozen(kw_only=True)
class OutputTerm:
    """The student's output against the teacher's at the same state."""

    weight: Weight
    distance: Literal["l1", "mse"]


@frozen(kw_only=True)
class HiddenTerm:
    """The student's one jump against the hidden variable that the teacher reaches: mean squared error in v."""

    weight: Weight


@frozen(kw_only=True)
class FeatureTerm:
    """Mean absolute difference of the activations before the last normalisation."""

    weight: Weight
    state: Literal["same", "landing"]
    """The teacher's features where the student stands (the published code), or where its jump lands (look-ahead)."""


@frozen(kw_only=True)
class SFDDM:
    """Single-fold distillation: one training run for any index set."""

    kind: Literal["sfddm"]
    start: Literal["teacher", "scratch"]
    """The student's first weights: a copy of the teacher's, or drawn anew from the run's seed."""
    time_input: Literal["level", "index"]
    """What the network is told of time: the teacher's noise level, or the student's own index k."""
    source: TrajectorySource | DataSource
    output: OutputTerm
    hidden: HiddenTerm
    feature: FeatureTerm
    training: Training


Method = DDIM | DPMSolver | Ancestral | SFDDM
FREE = (DDIM, DPMSolver, Ancestral)
"""Methods that train nothing: the teacher under another sampler."""


def module_name(method: Method) -> str:
    """The method's file in `sfddm/methods`, without its ending."""
    return method.kind.replace("-", "_")
