"""How a student is made from its teacher: one class per method, which says itself what it needs and what it costs."""

from collections.abc import Iterator
from typing import Literal

from attrs import evolve, frozen

from sfddm.diffusion.levels import Schedule
from sfddm.diffusion.solvers import Free as FreeSolver
from sfddm.spec.fields import Count, Levels, Name, Seed, Share
from sfddm.spec.index_set import Explicit, IndexSet
from sfddm.spec.parse import Fault, SpecPath, nearest
from sfddm.spec.parts import (
    TRAINED,
    Cache,
    Context,
    Cost,
    DataSource,
    Distance,
    FromScratch,
    HiddenTerm,
    RolloutSource,
    Source,
    Start,
    TeacherSteps,
    Term,
    Weighting,
    check_place_for_landings,
    check_terms,
    distribution_of,
    split,
)
from sfddm.spec.teacher import Trained as TrainedTeacher
from sfddm.spec.training import KEPT, Training

LISTED = 6
"""Numbers that an error names."""


class MethodBase:
    """What every method answers before anything is made; here for one that needs nothing and costs nothing."""

    any_steps = False
    """Whether its students can be sampled on index sets other than their own."""
    terms: tuple[Term, ...] = ()
    """The terms of its loss, where that has several."""

    def check(self, student: "Student", context: Context, path: SpecPath) -> Iterator[Fault]:
        """Yield what doesn't fit the student's index set, the teacher or the other students; `path` is the method's."""
        yield from ()

    def caches(self) -> tuple[Cache, ...]:
        """The trajectories of the teacher that it learns from, each once."""
        return ()

    def cost(self, levels: tuple[int, ...], schedule: Schedule, timesteps: int, share: float = 1.0) -> Cost:
        """What a student on these levels costs; one that is resampled costs nothing more than the other.

        `share` is the multiply-adds of its network's forward pass relative to the teacher's (`sfddm.networks.size`).
        """
        return Cost()


@frozen(kw_only=True)
class Free(MethodBase):
    """The teacher itself under a solver on the index set: free, and what every student has to beat."""

    kind: Literal["free"]
    solver: FreeSolver
    """ddim (Song et al. 2021, eta = 0), dpm-solver (DPM-Solver++(2M), Lu et al. 2022), unipc (UniPC-2 with bh2, Zhao et
    al. 2023), angle-2m (a two-step exponential integrator in the angle), or ancestral (Ho et al. 2020)."""
    average: Name = KEPT
    """Optional: one of `other_averages` in the teacher's training. kept, the default: its own `average`, which students
    are made from."""

    def check(self, student: "Student", context: Context, path: SpecPath) -> Iterator[Fault]:
        """Yield a fault where a free sampler has several seeds, or the teacher has no such average."""
        if len(student.seeds) > 1:
            yield Fault("a free sampler trains nothing: give it one seed", (*path[:-1], "seeds"))
        source = context.teacher.source
        yield from _check_average(
            self.average, "the teacher", source.training if isinstance(source, TrainedTeacher) else None, path
        )


@frozen(kw_only=True)
class Resampled(MethodBase):
    """Another student of the spec, of the same seed, sampled on this index set or with another average of its weights:
    free once that student is there."""

    kind: Literal["resampled"]
    student: Name
    """The name of the other student."""
    average: Name = KEPT
    """Optional: one of `other_averages` in that student's training. kept, the default: its own `average`."""

    def check(self, student: "Student", context: Context, path: SpecPath) -> Iterator[Fault]:
        """Yield what is wrong with the student that is sampled again."""
        source, here = context.students.get(self.student), (*path, "student")
        if source is None:
            yield Fault(f"unknown student {self.student!r}{nearest(self.student, context.students)}", here)
            return
        if isinstance(source.method, Free):
            average = "" if self.average == KEPT else f", average: {self.average}"
            row = f"{{kind: free, solver: {source.method.solver}{average}}}"
            yield Fault(f"{self.student} is the teacher itself: use `{row}` here", here)
            return
        if isinstance(source.method, Resampled):
            yield Fault(f"{self.student} is resampled itself: name the student that is trained", here)
            return
        if not source.method.any_steps:
            yield from self._check_levels(student, source, context, here)
        if missing := [seed for seed in student.seeds if seed not in source.seeds]:
            yield Fault(f"{self.student} has no seed {_listed(missing)}", (*path[:-1], "seeds"))
        if isinstance(source.method, Consistency):
            yield from source.method.check_on_grid(student, context, path)
        yield from _check_average(self.average, self.student, source.method.training, path)

    def _check_levels(self, student: "Student", source: "Student", context: Context, here: SpecPath) -> Iterator[Fault]:
        """Yield a fault where a student of one index set would be sampled on another, or once more as it is."""
        if context.levels(student.index_set) != context.levels(source.index_set):
            yield Fault(f"{self.student} ({source.method.kind}) can be sampled on its own index set alone", here)
        elif self.average == KEPT:
            yield Fault(f"this row is {self.student} once more: name another `average` of its training here", here)


def _check_average(name: str, whose: str, training: Training | None, path: SpecPath) -> Iterator[Fault]:
    """Yield a fault where a training, None for one elsewhere, keeps no other average of this name."""
    known = training.other_averages if training else {}
    if name == KEPT or name in known:
        return
    if training is None:
        message = f"{whose} was trained elsewhere, and one average of it is here: remove `average`"
    elif known:
        message = f"{whose} keeps no average {name!r}{nearest(name, known)}"
    else:
        message = f"{whose} keeps no average {name!r}: add it to `other_averages` of its training, or remove `average`"
    yield Fault(message, (*path, "average"))


def scoring_cost(terms: tuple[Term, ...], training: Training) -> int:
    """What a fake costs: a pass of the teacher and of its own average, and one forward and backward, all as large."""
    term = distribution_of(terms)
    if term is None:
        return 0
    each = 1 + TRAINED + bool(term.average)
    return (training.iterations - term.first(training.iterations)) * training.batch_size * each


@frozen(kw_only=True)
class SFDDM(MethodBase):
    """Single-fold distillation: one training run for any index set."""

    kind: Literal["sfddm"]
    start: Start
    time_input: Literal["level", "index"]
    """What tells the network the time: the teacher's noise level, or the student's own index k."""
    sources: tuple[Source, ...]
    terms: tuple[Term, ...]
    """The loss is their weighted sum."""
    training: Training

    @property
    def any_steps(self) -> bool:  # type: ignore[override]
        """Not where the network knows its own levels alone."""
        return self.time_input == "level"

    def check(self, student: "Student", context: Context, path: SpecPath) -> Iterator[Fault]:
        """Yield what is wrong with terms and sources."""
        levels, size = context.levels(student.index_set), self.training.batch_size
        yield from check_terms(self.terms, self.start, self.training.iterations, len(levels), context, (*path, "terms"))
        if not self.sources:
            yield Fault("expected at least one source", (*path, "sources"))
            return
        walks = any(term.lands or term.looks_ahead for term in self.terms)
        for position, (source, count) in enumerate(zip(self.sources, split(self.sources, size), strict=True)):
            here = (*path, "sources", position)
            if count < 1:
                yield Fault(
                    f"this source gets none of a batch of {size} images: give it a larger share, or a larger "
                    "batch_size",
                    (*here, "share"),
                )
            if not isinstance(source, DataSource):
                yield from source.cache.check(size, levels, context, (*here, "cache"))
            elif source.teacher_steps.evaluations() > 1 and not walks:
                yield Fault("no term needs the landing state: set solver to ddim and substeps to 1", here)

    def caches(self) -> tuple[Cache, ...]:
        """Those of its sources."""
        return tuple(dict.fromkeys(source.cache for source in self.sources if not isinstance(source, DataSource)))

    def cost(self, levels: tuple[int, ...], schedule: Schedule, timesteps: int, share: float = 1.0) -> Cost:
        """Trajectories, and per image a forward and backward pass, what the terms ask, and what the sources take."""
        asks = any(term.asks_teacher for term in self.terms)
        lands = any(term.lands for term in self.terms)
        ahead = any(term.looks_ahead for term in self.terms)
        batch = 0.0
        for source, count in zip(self.sources, split(self.sources, self.training.batch_size), strict=True):
            each = TRAINED * share + asks
            if isinstance(source, DataSource):
                each += (source.teacher_steps.evaluations() if lands or ahead else 0) + ahead
            elif isinstance(source, RolloutSource):
                each += (len(levels) - 1) / 2 * share
            batch += count * each
        noises = sum(cache.cost(levels, schedule, timesteps) for cache in self.caches())
        training = self.training.iterations * batch + scoring_cost(self.terms, self.training)
        return Cost(cache=noises, training=round(training), folds=1)


@frozen(kw_only=True)
class AnyStep(MethodBase):
    """One network that is told where it is and where it should land: trained once, sampled on any index set.

    Its own index set is the grid that its training jumps on.
    """

    kind: Literal["any-step"]
    start: Start
    cache: Cache
    """Trajectories through the student's index set."""
    unaligned: Share
    """Share of jumps between any two levels of the grid; the others have lengths 1, 2, 4, ... at aligned places."""
    terms: tuple[Term, ...]
    """The loss is their weighted sum; the feature term counts every jump but the one from noise to image."""
    training: Training

    any_steps = True

    def check(self, student: "Student", context: Context, path: SpecPath) -> Iterator[Fault]:
        """Yield what is wrong with terms and trajectories."""
        levels, here = context.levels(student.index_set), (*path, "terms")
        yield from self.cache.check(self.training.batch_size, levels, context, (*path, "cache"))
        yield from check_terms(self.terms, self.start, self.training.iterations, len(levels), context, here)
        own = self.start.network if isinstance(self.start, FromScratch) else None
        yield from check_place_for_landings(own, context, "an any-step student", (*path, "start"))
        if self.terms and not any(isinstance(term, HiddenTerm) for term in self.terms):
            yield Fault("any-step learns where to land from the hidden term: add one", here)
        for position, term in enumerate(self.terms):
            if term.asks_teacher:
                yield Fault(
                    "any-step does not ask the teacher at the student's own state: leave this term out, or compare "
                    "features where jumps land",
                    (*here, position),
                )

    def caches(self) -> tuple[Cache, ...]:
        """One."""
        return (self.cache,)

    def cost(self, levels: tuple[int, ...], schedule: Schedule, timesteps: int, share: float = 1.0) -> Cost:
        """Trajectories, and a forward and backward pass per image."""
        cache = self.cache.cost(levels, schedule, timesteps)
        training = self.training.images * TRAINED * share + scoring_cost(self.terms, self.training)
        return Cost(cache=cache, training=round(training), folds=1)


@frozen(kw_only=True)
class Progressive(MethodBase):
    """Progressive distillation: each fold halves the number of steps (Salimans and Ho 2022)."""

    kind: Literal["progressive"]
    start: Start
    """The start of the first fold; every later one starts from the student of the fold before."""
    start_steps: Count
    """Steps that the first fold halves: T' times a power of two."""
    teacher_steps: TeacherSteps
    """The steps of the teacher that the first fold halves; later folds halve DDIM steps of the student before."""
    distance: Distance
    weighting: Weighting
    training: Training
    """All folds together: each has an equal part of the iterations, and a learning rate that rises and falls."""

    def check(self, student: "Student", context: Context, path: SpecPath) -> Iterator[Fault]:
        """Yield what is wrong with the number of folds."""
        levels, here = context.levels(student.index_set), (*path, "start_steps")
        ratio, left = divmod(self.start_steps, len(levels))
        if left or ratio < 2 or ratio & (ratio - 1):
            near = ", ".join(str(len(levels) * 2**fold) for fold in range(1, 5))
            yield Fault(f"expected the {len(levels)} steps times a power of two: {near}, ...", here)
            return
        yield from context.check_room(levels, ratio * self.teacher_steps.substeps, here)
        each = self.training.iterations // self.folds(len(levels))
        if each <= self.training.warmup:
            yield Fault(
                f"{self.folds(len(levels))} folds leave {each} iterations each, no more than the warm-up: give more "
                "iterations, a shorter warm-up, or fewer start_steps",
                (*path, "training", "iterations"),
            )

    def folds(self, steps: int) -> int:
        """How often the number of steps is halved, down to `steps`."""
        return (self.start_steps // steps).bit_length() - 1

    def cost(self, levels: tuple[int, ...], schedule: Schedule, timesteps: int, share: float = 1.0) -> Cost:
        """Per fold and image, a forward and backward pass and two steps of the fold's teacher."""
        folds = self.folds(len(levels))
        images = (self.training.iterations // folds) * self.training.batch_size
        each = (folds * TRAINED + 2 * (folds - 1)) * share + self.teacher_steps.evaluations(2)
        return Cost(training=round(images * each), folds=folds)


@frozen(kw_only=True)
class Consistency(MethodBase):
    """Consistency distillation: any state of a trajectory to its end; several steps add noise again (Song et al. 2023).

    The student's index set has to be part of the grid.
    """

    kind: Literal["consistency"]
    start: Start
    grid: IndexSet
    """The levels that it learns to jump from."""
    teacher_steps: TeacherSteps
    """The teacher's step from each level of the grid to the next."""
    distance: Distance
    weighting: Weighting
    target_average: Share
    """Decay of the average of the weights that gives the targets; `average` in `training` is that of what is kept."""
    training: Training

    any_steps = True

    def check(self, student: "Student", context: Context, path: SpecPath) -> Iterator[Fault]:
        """Yield what is wrong with the grid, or with the student's levels on it."""
        broken = list(context.check_index_set(self.grid, (*path, "grid")))
        yield from broken
        if not broken:
            yield from self.check_on_grid(student, context, path)
            substeps = self.teacher_steps.substeps
            yield from context.check_room(context.levels(self.grid), substeps, (*path, "teacher_steps", "substeps"))

    def check_on_grid(self, student: "Student", context: Context, path: SpecPath) -> Iterator[Fault]:
        """Yield a fault where a student's levels are not on the grid."""
        grid = context.levels(self.grid)
        outside = [level for level in context.levels(student.index_set) if level not in set(grid)]
        if outside:
            near = sorted({min(grid, key=lambda known: abs(known - level)) for level in outside[:LISTED]})
            yield Fault(
                f"consistency distillation learns the levels of its grid alone, and {_listed(outside)} "
                f"{'is' if len(outside) == 1 else 'are'} not among them: use {_listed(near)}, or another grid",
                (*path[:-1], "index_set"),
            )

    def cost(self, levels: tuple[int, ...], schedule: Schedule, timesteps: int, share: float = 1.0) -> Cost:
        """Per image, a forward and backward pass, a step of the teacher and one of the average."""
        each = (TRAINED + 1) * share + self.teacher_steps.evaluations()
        return Cost(training=round(self.training.images * each), folds=1)


@frozen(kw_only=True)
class TRACT(MethodBase):
    """Transitive closure: any state of a segment to the segment's end, in one training (Berthelot et al. 2023)."""

    kind: Literal["tract"]
    start: Start
    substeps: Levels
    """Parts that each segment is cut into, evenly in angle."""
    teacher_steps: TeacherSteps
    """The teacher's step through each part."""
    distance: Distance
    weighting: Weighting
    target_average: Share
    """Decay of the average of the weights that gives the targets; `average` in `training` is that of what is kept."""
    training: Training

    def check(self, student: "Student", context: Context, path: SpecPath) -> Iterator[Fault]:
        """Yield a fault where the segments have too few levels."""
        parts = self.substeps * self.teacher_steps.substeps
        yield from context.check_room(context.levels(student.index_set), parts, (*path, "substeps"))

    def cost(self, levels: tuple[int, ...], schedule: Schedule, timesteps: int, share: float = 1.0) -> Cost:
        """Per image, a forward and backward pass, a step of the teacher and one of the average."""
        each = (TRAINED + 1) * share + self.teacher_steps.evaluations()
        return Cost(training=round(self.training.images * each), folds=1)


Method = Free | Resampled | SFDDM | AnyStep | Progressive | Consistency | TRACT
"""How the student is made."""
Trained = SFDDM | AnyStep | Progressive | Consistency | TRACT
"""Methods that train a network, in the one training loop."""


@frozen(kw_only=True)
class Student:
    """One row of the comparison, trained once per seed. Free samplers of the teacher are students too."""

    index_set: IndexSet
    clip_sample: bool
    """Clip the predicted images to [-1, 1] while sampling."""
    method: Method
    seeds: tuple[Seed, ...]
    """Training seeds: each makes a run of its own."""

    @property
    def kinds(self) -> str:
        """What decides the code that makes it: its method, and the terms of its loss, joined by +."""
        return "+".join([self.method.kind, *sorted({term.kind for term in self.method.terms})])

    @property
    def search(self) -> int:
        """Forward-equivalents of the search for its index set; 0 where there was none."""
        return self.index_set.search if isinstance(self.index_set, Explicit) else 0

    def cost(self, levels: tuple[int, ...], schedule: Schedule, timesteps: int, share: float = 1.0) -> Cost:
        """What the student costs: its method's cost (`MethodBase.cost`), and the search for its index set."""
        return evolve(self.method.cost(levels, schedule, timesteps, share), search=self.search)

    def check(self, context: Context, path: SpecPath) -> Iterator[Fault]:
        """Yield every disagreement with the rest of the spec."""
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            yield Fault("expected one seed or several different ones", (*path, "seeds"))
        broken = list(context.check_index_set(self.index_set, (*path, "index_set")))
        yield from broken
        if broken:
            return
        here = (*path, "method")
        yield from self.method.check(self, context, here)
        if isinstance(self.method, Trained):
            yield from self.method.start.check(context, (*here, "start"))
            yield from self.method.training.check((*here, "training"))


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:LISTED])) + (", ..." if len(numbers) > LISTED else "")
