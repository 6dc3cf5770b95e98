"""Where the states come from that a student learns at, and where its jumps should land."""

from typing import Literal

from attrs import frozen

from sfddm.diffusion.sampler import Deterministic
from sfddm.spec.fields import Levels, Noises, Positive, Seed


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
