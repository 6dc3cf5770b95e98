"""What a student costs, known before it is made, in forward-equivalents of its teacher's network.

A forward pass of one image is 1, a forward and backward pass 3; caches, folds and targets are counted.
"""

from attrs import asdict, frozen

from sfddm.diffusion.levels import Schedule
from sfddm.diffusion.spacing import finer
from sfddm.spec.students import (
    FREE,
    SFDDM,
    TRACT,
    AnyStep,
    Cache,
    Consistency,
    DataSource,
    Method,
    Progressive,
    Resampled,
    RolloutSource,
    Source,
)

TRAINED = 3
"""A forward and backward pass of one image."""


@frozen(kw_only=True)
class Cost:
    """Forward-equivalents."""

    cache: int
    """Of the teacher's trajectories, computed before training."""
    training: int
    folds: int
    """Trainings one after another; 0 for what trains nothing."""

    @property
    def total(self) -> int:
        """Of all that was computed to make the student."""
        return self.cache + self.training

    def to_json(self) -> dict[str, int]:
        """Plain data, with the total."""
        return {**asdict(self), "total": self.total}


NO_COST = Cost(cache=0, training=0, folds=0)


def cost(method: Method, levels: tuple[int, ...], schedule: Schedule, timesteps: int) -> Cost:
    """What a student of a method on an index set costs; one that is resampled costs nothing more."""
    if isinstance(method, (*FREE, Resampled)):
        return NO_COST
    images = method.training.iterations * method.training.batch_size
    match method:
        case AnyStep(cache=cache):
            noises = _of_cache(cache, levels, schedule, timesteps)
            return Cost(cache=noises, training=images * TRAINED, folds=1)
        case Progressive(start_steps=start):
            folds = (start // len(levels)).bit_length() - 1
            each = method.training.iterations // folds * method.training.batch_size
            return Cost(cache=0, training=folds * each * (TRAINED + 2), folds=folds)
        case Consistency() | TRACT():
            return Cost(cache=0, training=images * (TRAINED + 2), folds=1)
        case SFDDM():
            return _of_sfddm(method, levels, schedule, timesteps)


def asks_teacher(method: SFDDM) -> bool:
    """Whether a term compares with the teacher at the student's own state."""
    return method.output.weight > 0 or (method.feature.weight > 0 and method.feature.state == "same")


def split(sources: tuple[Source, ...], batch_size: int) -> list[int]:
    """How many images of a batch come from each source; the first one takes what rounding leaves."""
    total = sum(source.share for source in sources)
    counts = [round(batch_size * source.share / total) for source in sources]
    counts[0] += batch_size - sum(counts)
    return counts


def _of_sfddm(method: SFDDM, levels: tuple[int, ...], schedule: Schedule, timesteps: int) -> Cost:
    ahead = method.feature.weight > 0 and method.feature.state == "landing"
    caches: set[Cache] = set()
    batch = 0.0
    for source, count in zip(method.sources, split(method.sources, method.training.batch_size), strict=True):
        each: float = TRAINED + asks_teacher(method)
        if isinstance(source, DataSource):
            each += (source.substeps if method.hidden.weight or ahead else 0) + ahead
        else:
            caches.add(source.cache)
            each += (len(levels) - 1) / 2 if isinstance(source, RolloutSource) else 0
        batch += count * each
    noises = sum(_of_cache(cache, levels, schedule, timesteps) for cache in caches)
    return Cost(cache=noises, training=round(method.training.iterations * batch), folds=1)


def _of_cache(cache: Cache, levels: tuple[int, ...], schedule: Schedule, timesteps: int) -> int:
    return cache.noises * len(finer(levels, cache.substeps, schedule, timesteps))
