"""What methods share: how a student starts, where its states come from, and the terms of its loss."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from attrs import asdict, frozen

from sfddm.diffusion.levels import Schedule
from sfddm.diffusion.prediction import Prediction
from sfddm.diffusion.solvers import SOLVERS, Teaching
from sfddm.diffusion.spacing import IndexSetError, finer, resolve
from sfddm.spec.fields import Levels, Noises, Positive, Seed, Share
from sfddm.spec.index_set import IndexSet
from sfddm.spec.parse import Fault, SpecPath
from sfddm.spec.teacher import EDMUNet2D, FromDiffusers, FromTensors, Network, Teacher, Trained, UNet2D

TRAINED = 3
"""Forward-equivalents of a forward and backward pass of one image."""


@frozen(kw_only=True)
class Cost:
    """What a student costs, in forward-equivalents of its teacher's network: a forward pass of one image is 1.

    A smaller network of the student's own counts by its share of multiply-adds.
    """

    search: int = 0
    """The search for the index set."""
    cache: int = 0
    """The teacher's trajectories, computed before training."""
    training: int = 0
    folds: int = 0
    """Trainings one after another; 0 where nothing is trained."""

    @property
    def total(self) -> int:
        """All that is computed to make the student."""
        return self.search + self.cache + self.training

    def to_json(self) -> dict[str, int]:
        """Plain data, with the total."""
        return {**asdict(self), "total": self.total}


@frozen(kw_only=True)
class Context:
    """What a student is checked against: the rest of its spec."""

    teacher: Teacher
    shape: tuple[int, int, int]
    """Channels, height and width of the images."""
    students: Mapping[str, Any]
    """The students by name (`sfddm.spec.students.Student`)."""

    def levels(self, index_set: IndexSet) -> tuple[int, ...]:
        """phi_1 < ... < phi_T' of an index set on this teacher."""
        return resolve(index_set, self.teacher.noise_schedule, self.teacher.timesteps)

    def finer(self, levels: tuple[int, ...], substeps: int) -> tuple[int, ...]:
        """The levels with up to `substeps` - 1 more inside each segment."""
        return finer(levels, substeps, self.teacher.noise_schedule, self.teacher.timesteps)

    def check_index_set(self, index_set: IndexSet, path: SpecPath) -> Iterator[Fault]:
        """Yield what is wrong with an index set on this teacher."""
        try:
            self.levels(index_set)
        except IndexSetError as error:
            yield Fault(str(error), (*path, error.field))

    def check_room(self, levels: tuple[int, ...], substeps: int, path: SpecPath) -> Iterator[Fault]:
        """Yield a fault where segments of `substeps` steps need more different levels than there are."""
        wanted = len(levels) * substeps
        room = self.teacher.timesteps if wanted > self.teacher.timesteps else len(self.finer(levels, substeps))
        if room < wanted:
            yield Fault(
                f"{len(levels)} segments of {substeps} steps need {wanted} different levels, and there is room for "
                f"{room}: use fewer",
                path,
            )


StudentPrediction = Literal["same", "v", "epsilon-sample"]
"""same: as the teacher. v: well conditioned at every level. epsilon-sample: both noise and image, each in channels of
its own, merged as v = alpha * noise - sigma * image (after Salimans and Ho 2022, section 4): what to give the student
of a teacher that predicts noise."""


UNREADABLE: dict[Prediction, str] = {"sample": "an image", "edm": "EDM's F"}
"""Outputs that are nowhere near v, and what they are called."""


@frozen(kw_only=True)
class FromTeacher:
    """A copy of the teacher.

    Under another prediction than the teacher's, its output is read as v, or as the noise with an image of zeros.
    """

    kind: Literal["teacher"]
    prediction: StudentPrediction

    def check(self, context: Context, path: SpecPath) -> Iterator[Fault]:
        """Yield what doesn't fit the teacher."""
        teachers = context.teacher.prediction
        if self.prediction == "epsilon-sample" and teachers != "epsilon":
            yield Fault(
                f"the teacher predicts {teachers}, so there is no noise output to copy: use same, or start from "
                "scratch",
                (*path, "prediction"),
            )
        if self.prediction == "v" and teachers in UNREADABLE:
            yield Fault(
                f"{UNREADABLE[teachers]} can't be read as v: use same, or start from scratch", (*path, "prediction")
            )


@frozen(kw_only=True)
class TeachersNetwork:
    """The teacher's own architecture."""

    kind: Literal["teacher"]


@frozen(kw_only=True)
class FromScratch:
    """Weights drawn from the run's seed, in the teacher's architecture or a smaller one."""

    kind: Literal["scratch"]
    prediction: StudentPrediction
    network: TeachersNetwork | Network
    """The architecture."""

    def check(self, context: Context, path: SpecPath) -> Iterator[Fault]:
        """Yield what is wrong with the network."""
        if not isinstance(self.network, TeachersNetwork):
            yield from self.network.check(context.shape, (*path, "network"))
        own = network_of(context.teacher) if isinstance(self.network, TeachersNetwork) else self.network
        prediction = context.teacher.prediction if self.prediction == "same" else self.prediction
        if isinstance(own, EDMUNet2D):
            yield from own.check_prediction(prediction, (*path, "prediction"))


Start = FromTeacher | FromScratch
"""What a student is before its first iteration."""


@frozen(kw_only=True)
class Cache:
    """The teacher's own trajectories from noise, computed once before training; they need no images."""

    noises: Noises
    """How many trajectories."""
    seed: Seed
    """Seed of their noises."""
    solver: Teaching
    substeps: Levels
    """Solver steps inside each segment of the index set, evenly in angle."""
    clip_sample: bool
    """Clip the solver's predicted images to [-1, 1]."""

    def check(self, batch_size: int, levels: tuple[int, ...], context: Context, path: SpecPath) -> Iterator[Fault]:
        """Yield what doesn't fit a training or an index set."""
        if self.noises < batch_size:
            yield Fault(f"expected at least one batch of noises ({batch_size})", (*path, "noises"))
        if len(levels) * self.substeps > context.teacher.timesteps:
            yield from context.check_room(levels, self.substeps, (*path, "substeps"))

    def cost(self, levels: tuple[int, ...], schedule: Schedule, timesteps: int) -> int:
        """Forward-equivalents of the trajectories through an index set."""
        return self.noises * len(finer(levels, self.substeps, schedule, timesteps))


@frozen(kw_only=True)
class TrajectorySource:
    """States of the teacher's trajectories: the jump from one should land on the next."""

    kind: Literal["trajectory"]
    share: Positive
    """Share of each batch, relative to the other sources'."""
    cache: Cache


@frozen(kw_only=True)
class RolloutSource:
    """The student's own states on the way from the same noises: its jump should come back to the trajectory."""

    kind: Literal["rollout"]
    share: Positive
    """Share of each batch, relative to the other sources'."""
    cache: Cache


@frozen(kw_only=True)
class TeacherSteps:
    """How the teacher goes from noised images at one level to a lower level."""

    solver: Teaching
    """Its first step looks ahead to the middle level, as nothing was predicted before (`sfddm.methods.teaching`)."""
    substeps: Levels
    """Solver steps on the way, evenly in angle."""
    clip_sample: bool
    """Clip the solver's predicted images to [-1, 1]."""

    def evaluations(self, steps: int = 1) -> int:
        """Network evaluations of so many of them one after another."""
        return steps * self.substeps + SOLVERS[self.solver].memory


@frozen(kw_only=True)
class DataSource:
    """Real images, noised; the teacher's steps through the segment then give the state where the jump should land."""

    kind: Literal["data"]
    share: Positive
    """Share of each batch, relative to the other sources'."""
    teacher_steps: TeacherSteps


Source = TrajectorySource | RolloutSource | DataSource
"""Where the states come from that a student learns at, and where its jumps should land."""


def split(sources: tuple[Source, ...], batch_size: int) -> list[int]:
    """How many images of a batch come from each source; the first one takes what rounding leaves."""
    total = sum(source.share for source in sources)
    counts = [round(batch_size * source.share / total) for source in sources]
    counts[0] += batch_size - sum(counts)
    return counts


Distance = Literal["mse", "l1", "pseudo-huber"]
"""mse: mean e^2; l1: mean |e|; pseudo-huber: sqrt(mean e^2 + c^2) - c per image, c = 0.03 (after Song and Dhariwal
2023, section 3.3)."""
Weighting = Literal["snr+1", "truncated-snr", "min-snr", "uniform"]
"""With `mse`, the weight of the image's squared error at each level. snr+1: SNR + 1, the plain error of v;
truncated-snr: max(SNR, 1) (both Salimans and Ho 2022); min-snr: min(SNR, 5) (Hang et al. 2023); uniform: 1 (Song et al.
2023). It is carried out as a factor of the distance in v, sigma^2 times that weight, with other distances too."""


class TermBase:
    """What a term of a loss asks for; here for one that compares nothing but what the student itself puts out."""

    asks_teacher = False
    """The teacher at the student's own state."""
    lands = False
    """The state where the jump should land."""
    looks_ahead = False
    """The teacher's features there."""


@frozen(kw_only=True)
class OutputTerm(TermBase):
    """The student's output against the teacher's at the same state: its only optimum is the teacher's own DDIM."""

    kind: Literal["output"]
    weight: Positive
    """Factor of this term in the loss."""
    distance: Literal["l1", "mse"]
    """l1: mean absolute difference; mse: mean squared difference."""

    asks_teacher = True


@frozen(kw_only=True)
class HiddenTerm(TermBase):
    """The student's one jump against the hidden variable that the teacher reaches: a distance in v."""

    kind: Literal["hidden"]
    weight: Positive
    """Factor of this term in the loss."""
    distance: Distance
    weighting: Weighting

    lands = True


@frozen(kw_only=True)
class FeatureTerm(TermBase):
    """Mean absolute difference of the activations before the last normalisation."""

    kind: Literal["feature"]
    weight: Positive
    """Factor of this term in the loss."""
    state: Literal["same", "landing"]
    """The teacher's features where the student is (the published code), or where its jump lands (look-ahead)."""

    @property
    def asks_teacher(self) -> bool:  # type: ignore[override]
        """Where it compares features at the student's own state."""
        return self.state == "same"

    @property
    def looks_ahead(self) -> bool:  # type: ignore[override]
        """Where it compares features at the landing state."""
        return self.state == "landing"


@frozen(kw_only=True)
class DistributionTerm(TermBase):
    """The distribution of the states where the student lands against the teacher's, at images and hidden variables.

    A second network, the fake, learns beside the student to denoise what that makes (Yin et al. 2024).
    """

    kind: Literal["distribution"]
    weight: Positive
    """Factor of this term in the loss."""
    begin: Share
    """The first share of the iterations, which go without this term."""
    ramp: Share
    """The share of them after that, in which its weight rises linearly: a loss that is suddenly larger does harm."""
    learning_rate: Positive
    """The fake's, which is constant: it has to keep up with the student, and does once that one's falls."""
    average: Share
    """Decay of the moving average of the fake's weights that the student is compared with: the fake itself follows its
    last batches, and the student would follow it. 0 compares it with the fake itself, for a forward pass less."""

    lands = True  # a collapse shows beside the teacher's landing states

    def first(self, iterations: int) -> int:
        """The first of so many iterations that has this term."""
        return round(self.begin * iterations)

    def risen(self, step: int, iterations: int) -> float:
        """The share of its weight that the term has in an iteration, from `first` on."""
        rising = round(self.ramp * iterations)
        return min(1.0, (step - self.first(iterations) + 1) / rising) if rising else 1.0


Term = OutputTerm | HiddenTerm | FeatureTerm | DistributionTerm
"""The terms of a loss."""


def network_of(teacher: Teacher) -> Network | None:
    """The teacher's network, where the spec says it."""
    return teacher.source.network if isinstance(teacher.source, Trained | FromTensors) else None


def check_place_for_landings(
    network: Network | TeachersNetwork | None, context: Context, what: str, path: SpecPath
) -> Iterator[Fault]:
    """Yield a fault where a network is to be told classes and where jumps land, and has one place for both."""
    own = network_of(context.teacher) if network is None or isinstance(network, TeachersNetwork) else network
    diffusers = isinstance(own, UNet2D) or (own is None and isinstance(context.teacher.source, FromDiffusers))
    if context.teacher.classes and diffusers:
        yield Fault(
            f"{what} is told where its jumps land, and diffusers' networks have one place for that and for a class: "
            "use an `edm-unet2d`, or a teacher without classes",
            path,
        )


def distribution_of(terms: tuple[Term, ...]) -> DistributionTerm | None:
    """The term among them that asks for a fake."""
    return next((term for term in terms if isinstance(term, DistributionTerm)), None)


def check_terms(
    terms: tuple[Term, ...], start: Start, iterations: int, steps: int, context: Context, path: SpecPath
) -> Iterator[Fault]:
    """Yield what is wrong with a method's list of terms, for a training of so many iterations and T' = `steps`."""
    if not terms:
        yield Fault("expected at least one term", path)
    for position, term in enumerate(terms):
        if term.kind in [other.kind for other in terms[:position]]:
            yield Fault(f"a second {term.kind} term: expected one of a kind", (*path, position, "kind"))
        if isinstance(term, FeatureTerm):
            yield from _check_features(start, context, (*path, position))
        if isinstance(term, DistributionTerm) and steps > 1:
            yield from check_place_for_landings(None, context, "the fake of several steps", (*path, position, "kind"))
        if isinstance(term, DistributionTerm) and term.first(iterations) >= iterations:
            yield Fault(
                f"none of the {iterations} iterations has this term: give it an earlier begin, or leave it out",
                (*path, position, "begin"),
            )
    if terms and all(isinstance(term, DistributionTerm) and term.first(iterations) for term in terms):
        yield Fault("nothing is learnt before the distribution term begins: set begin to 0, or add another term", path)


def _check_features(start: Start, context: Context, path: SpecPath) -> Iterator[Fault]:
    """The term compares activations one by one, so there must be equally many."""
    own = start.network if isinstance(start, FromScratch) else TeachersNetwork(kind="teacher")
    source = context.teacher.source
    if not isinstance(source, Trained | FromTensors) or isinstance(own, TeachersNetwork):
        return  # known once the teacher is there: `sfddm.methods.train` looks again
    teachers = source.network
    if (own.channels[:1], own.patch) != (teachers.channels[:1], teachers.patch):
        yield Fault(
            f"the student's network has {own.channels[0]} features and the teacher's {teachers.channels[0]}, on "
            f"patches of {own.patch} and {teachers.patch}: give both the same first entry of channels and the same "
            "patch, or leave this term out",
            path,
        )
