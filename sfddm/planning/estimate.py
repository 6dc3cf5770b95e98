"""Time, disk and memory of the stages of a spec, from measured rates and from what the spec asks for."""

from collections.abc import Iterator
from functools import cached_property
from math import prod

from attrs import frozen

from sfddm.data.prepare import load
from sfddm.diffusion.spacing import finer
from sfddm.errors import UserError
from sfddm.evaluation.interpolation import PAIRS, STEPS
from sfddm.evaluation.real import KEPT
from sfddm.evaluation.timing import BATCH, FEW, REPEATS
from sfddm.evaluation.timing import STEPS as TIMED_WHOLE
from sfddm.networks.denoiser import Denoiser
from sfddm.planning import rates
from sfddm.planning.rates import TRAINED_BYTES, Speed
from sfddm.planning.scoring import Scoring, measure
from sfddm.runtime.machine import device, free_memory, peak_memory_mb
from sfddm.spec.data import LSUN, CelebAHQ, Folder
from sfddm.spec.evaluation import Classifier
from sfddm.spec.experiment import Run, Spec
from sfddm.spec.parts import Cache, DataSource
from sfddm.spec.students import SFDDM, AnyStep, Method, Resampled, Trained
from sfddm.spec.teacher import Trained as TrainedTeacher
from sfddm.spec.training import Training
from sfddm.training.batches import RESIDENT

FLOAT = 4
"""Bytes of a number in fp32."""
CLASSES = 10
"""Of a classifier that is measured; its head is a small part of it."""
NO_TEACHER = ("data@", "scorer@", "track@", "report@")
"""Stages that need none."""


@frozen(kw_only=True)
class Estimate:
    """Of one stage."""

    seconds: float
    disk: int = 0
    """Bytes of outputs."""
    scratch: int = 0
    """Bytes of trajectories, which DVC does not keep."""
    memory: int = 0
    """Bytes on the device that the stage computes on, as far as they are known beforehand."""
    note: str = ""
    """What could not be measured, and why."""


class Measured:
    """What this device does with the networks of a spec; each is measured once, and only when it is asked for."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.base = int(peak_memory_mb("cpu") * 2**20) if device().type == "cpu" else 0
        """Bytes that libraries take."""
        self._speeds: dict[object, Speed] = {}

    @cached_property
    def start(self) -> float:
        """Seconds until a stage that needs torch begins."""
        return rates.start_seconds()

    @cached_property
    def teacher(self) -> Denoiser:
        """The teacher's network."""
        return rates.teacher_network(self.spec)

    @cached_property
    def forward(self) -> float:
        """Seconds an evaluation of the teacher, of one image."""
        return rates.forward_seconds(self.teacher, self.spec.evaluation.batch_size)[1]

    @cached_property
    def scoring(self) -> Scoring:
        """What the scorer does."""
        return measure(self.spec.evaluation.scorer, self.spec.data.shape, CLASSES)

    @cached_property
    def images(self) -> int:
        """How many the data set has.

        Raises:
            UserError: a folder of images is not there.
        """
        data = self.spec.data
        return sum(stream.images for stream in load(data)) if isinstance(data, Folder) else data.images

    def of_teacher(self, training: Training) -> Speed:
        """The teacher in its own training."""
        return self._speed(self.teacher, training)

    def of_student(self, method: Trained) -> Speed:
        """A student in its own training."""
        return self._speed(rates.student_network(self.teacher, method), method.training)

    def _speed(self, network: Denoiser, training: Training) -> Speed:
        key = (repr(sorted(network.config.items())), training.batch_size, training.precision, training.memory_format)
        if key not in self._speeds:
            self._speeds[key] = rates.speed(network, training)
        return self._speeds[key]


def estimates(spec: Spec, wanted: set[str]) -> Iterator[tuple[str, Estimate]]:
    """Estimates of the stages that are wanted, by DVC's names for them, in the spec's order.

    Raises:
        UserError: what a stage reads from outside, such as the data set, is not there.
    """
    measured = Measured(spec)
    if any(not stage.startswith(NO_TEACHER) for stage in wanted):
        _ = measured.teacher  # one that is not there is said before minutes of measuring
    paid: set[tuple[tuple[int, ...], Cache]] = set()
    for stage, work in (("data", _data), ("scorer", _scorer), ("teacher", _teacher), ("reference", _reference)):
        if f"{stage}@{spec.name}" in wanted:
            yield f"{stage}@{spec.name}", work(measured)
    for run in spec.runs():
        if f"distill@{run.name}" in wanted:
            yield f"distill@{run.name}", _distill(measured, run, paid)
        if f"evaluate@{run.name}" in wanted:
            yield f"evaluate@{run.name}", _evaluate(measured, run)
    for stage in ("track", "report"):
        if f"{stage}@{spec.name}" in wanted:
            yield f"{stage}@{spec.name}", Estimate(seconds=measured.start)


def _data(measured: Measured) -> Estimate:
    """Image files are decoded, which is measured on a block of them; other sets take seconds, or a download."""
    data, seconds, note = measured.spec.data, 0.0, ""
    if isinstance(data, CelebAHQ | LSUN | Folder):
        try:
            began = rates.now()
            block = next(iter(load(data)[0].blocks))
            seconds = measured.images * (rates.now() - began) / max(len(block.images), 1)
        except UserError as error:
            note = f"the time of decoding is not known: {error}"
    return Estimate(seconds=seconds, disk=measured.images * prod(data.shape), note=note)


def _scorer(measured: Measured) -> Estimate:
    settings, scoring = measured.spec.evaluation.scorer, measured.scoring
    seconds = measured.start + measured.images * scoring.real
    memory = measured.base
    if isinstance(settings, Classifier):
        seconds += settings.training.iterations * settings.training.batch_size * scoring.train
        memory += _resident(_real_images(measured))
    disk = min(measured.images, KEPT) * scoring.features * FLOAT + 2 * 8 * scoring.features**2
    return Estimate(seconds=seconds, disk=disk, memory=memory)


def _teacher(measured: Measured) -> Estimate:
    source = measured.spec.teacher.source
    if not isinstance(source, TrainedTeacher):
        weights = _weights(measured.teacher)
        return Estimate(seconds=measured.start, disk=weights, memory=measured.base + weights)
    training, speed = source.training, measured.of_teacher(source.training)
    return Estimate(
        seconds=measured.start + training.iterations * training.batch_size * speed.train,
        disk=speed.parameters * FLOAT,
        memory=measured.base + _training(speed, training) + _resident(_real_images(measured)),
    )


def _reference(measured: Measured) -> Estimate:
    wanted = measured.spec.evaluation
    count = wanted.samples + PAIRS * STEPS
    steps = len(measured.spec.levels_of(wanted.reference.index_set))
    disk = count * prod(measured.spec.data.shape)
    return Estimate(
        seconds=measured.start + count * steps * measured.forward,
        disk=disk,
        memory=measured.base + _weights(measured.teacher),
    )


def _distill(measured: Measured, run: Run, paid: set[tuple[tuple[int, ...], Cache]]) -> Estimate:
    """The first student that asks for some trajectories makes them; those after it read them."""
    spec, method = measured.spec, measured.spec.students[run.student].method
    if not isinstance(method, Trained):
        return Estimate(seconds=0, disk=_weights(measured.teacher))
    levels, teacher, training = spec.levels(run.student), spec.teacher, method.training
    total, speed = method.cost(levels, teacher.noise_schedule, teacher.timesteps), measured.of_student(method)
    images = total.folds * (training.iterations // total.folds) * training.batch_size
    seconds = images * speed.train + (total.training - 3 * images) * measured.forward
    scratch = 0
    for cache in _caches(method):
        if (levels, cache) not in paid:
            paid.add((levels, cache))
            steps = len(finer(levels, cache.substeps, teacher.noise_schedule, teacher.timesteps))
            seconds += cache.noises * steps * measured.forward
            scratch += _trajectories(measured.teacher, len(levels), cache)
    held = [part for cache in _caches(method) for part in _states_and_features(measured.teacher, len(levels), cache)]
    held += [_real_images(measured)] if _asks_for_images(method) else []
    return Estimate(
        seconds=measured.start + seconds,
        disk=speed.parameters * FLOAT,
        scratch=scratch,
        memory=measured.base + _training(speed, training) + _weights(measured.teacher) + _resident(*held),
    )


def _evaluate(measured: Measured, run: Run) -> Estimate:
    spec, wanted, student = measured.spec, measured.spec.evaluation, measured.spec.students[run.student]
    trained = _trained(spec, student.method)
    forward = measured.of_student(trained).forward if trained else measured.forward
    steps = len(spec.levels(run.student))
    drawn = 0 if _is_reference(spec, run) else wanted.samples + PAIRS * STEPS
    timed = steps if steps <= TIMED_WHOLE else FEW
    timing = (REPEATS + 1) * BATCH * (timed * forward + FEW * measured.forward)
    kept = 2 * min(wanted.samples, KEPT) * measured.scoring.features * FLOAT
    return Estimate(
        seconds=measured.start + drawn * steps * forward + timing + measured.scoring.of(wanted.samples),
        memory=measured.base + 2 * _weights(measured.teacher) + kept,
    )


def _trained(spec: Spec, method: Method) -> Trained | None:
    """The method that trained a student, which may be another student's; None for the teacher itself."""
    if isinstance(method, Resampled):
        method = spec.students[method.student].method
    return method if isinstance(method, Trained) else None


def _is_reference(spec: Spec, run: Run) -> bool:
    """Whether its images are the reference's own, which are not drawn again."""
    student, reference = spec.students[run.student], spec.evaluation.reference
    own = (run.method, spec.levels(run.student), student.clip_sample)
    return own == (reference.solver, spec.levels_of(reference.index_set), reference.clip_sample)


def _caches(method: Trained) -> set[Cache]:
    match method:
        case AnyStep(cache=cache):
            return {cache}
        case SFDDM(sources=sources):
            return {source.cache for source in sources if not isinstance(source, DataSource)}
    return set()


def _asks_for_images(method: Trained) -> bool:
    if isinstance(method, SFDDM):
        return any(isinstance(source, DataSource) for source in method.sources)
    return not isinstance(method, AnyStep)


def _trajectories(teacher: Denoiser, steps: int, cache: Cache) -> int:
    """Bytes of them in a file."""
    return sum(_states_and_features(teacher, steps, cache))


def _states_and_features(teacher: Denoiser, steps: int, cache: Cache) -> tuple[int, int]:
    """Bytes of states, fp32 at every level and 0, and of features, fp16 where each jump lands."""
    channels, height, width = teacher.image_shape
    features, pixels = int(teacher.config["block_out_channels"][0]), cache.noises * height * width
    return pixels * (steps + 1) * channels * FLOAT, pixels * steps * features * FLOAT // 2


def _resident(*parts: int) -> int:
    """Of the bytes of images and trajectories, those that a training holds on its device: what is too much, it reads
    at need (`sfddm.training.batches.resident`)."""
    free, held = free_memory(device().type), 0
    for part in parts:
        held += part if part <= RESIDENT * (free - held) else 0
    return held


def _real_images(measured: Measured) -> int:
    """Bytes of all real images."""
    return measured.images * prod(measured.spec.data.shape)


def _training(speed: Speed, training: Training) -> int:
    return TRAINED_BYTES * speed.parameters + training.batch_size * speed.activations


def _weights(network: Denoiser) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in network.parameters())
