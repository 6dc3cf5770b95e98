"""What the stages of a spec that would run will take: time, disk and memory.

Time is counted in forward-equivalents of the teacher's network, as costs are: one image forward is 1, forward and
backward 3. What one takes is known from trainings of the spec that ran on such a processor, or else from one timed
forward pass. docs/planning.md has all formulas, and what they leave out.
"""

import time
from collections.abc import Callable, Collection, Iterator
from functools import cache, cached_property, partial
from math import prod
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from attrs import Factory, frozen
from torch import Tensor

from sfddm.data.prepare import load
from sfddm.evaluation.interpolation import PAIRS, STEPS
from sfddm.evaluation.real import KEPT
from sfddm.evaluation.scorers.extractor import Extractor, load_extractor, write_untrained
from sfddm.evaluation.similarity import BATCH, pixel_similarities
from sfddm.networks import storage
from sfddm.networks.contract import contract_of
from sfddm.networks.denoiser import Denoiser, Evaluated, build, class_of, unet_config
from sfddm.networks.layout import read_cost
from sfddm.networks.size import share
from sfddm.pipeline import comparing
from sfddm.pipeline.paths import Paths
from sfddm.pipeline.pending import stages
from sfddm.pipeline.tensor_memory import peak_tensor_bytes
from sfddm.runtime.machine import device, machine
from sfddm.runtime.memory import RESIDENT, free_memory, peak_memory_mb
from sfddm.spec.data import LSUN, CelebAHQ, Folder
from sfddm.spec.evaluation import Classifier, Scorer
from sfddm.spec.experiment import Run, Spec
from sfddm.spec.parse import read_mapping
from sfddm.spec.parts import TRAINED, Cache, DataSource, distribution_of
from sfddm.spec.students import Free, Trained
from sfddm.spec.teacher import Trained as TrainedTeacher
from sfddm.spec.training import Training
from sfddm.teachers.importing import find_teacher

START, DECODING = 5.0, 0.005
"""Seconds until a stage has imported its libraries, and per image file that is decoded: rough, and not measured."""
LONG_ENOUGH = 0.25
"""Seconds of a timed forward pass; batches grow until one takes them."""
TRAINED_BYTES = 20
"""Per parameter in training, in fp32: itself, its average, its gradient, and Adam's two moments."""
FLOAT = 4
FEW = 8
"""Images whose memory on their way through a network is added up."""
TIMING = 8000
"""About as many network evaluations is the speed of a sampler measured with."""
NO_TEACHER = ("data@", "scorer@", "track@", "report@")
"""Stages that need none."""


@frozen(kw_only=True)
class Estimate:
    """What one stage will take."""

    seconds: float = START
    disk: int = 0
    """Bytes of outputs."""
    scratch: int = 0
    """Bytes of trajectories, which DVC does not keep."""
    memory: int = 0
    """Bytes on the device that the stage computes on."""
    scoring: dict[str, float] = Factory(dict)
    """Seconds that each scorer takes of it."""


def estimates(spec: Spec, wanted: Collection[str]) -> Iterator[tuple[str, Estimate]]:
    """Estimates of the stages that are wanted, by DVC's names for them, in an order in which they can run.

    Raises:
        UserError: a teacher that others trained, or a folder of images, is not there.
    """
    plan, runs = _Plan(spec, wanted), {run.name: run for run in spec.runs()}
    if any(not name.startswith(NO_TEACHER) for name in wanted):
        _ = plan.network  # a teacher that is not there is said at once
    for name in filter(wanted.__contains__, stages(spec)):
        stage, _, item = name.partition("@")
        if stage in ("track", "report"):
            yield name, Estimate()
        else:
            named = item.removeprefix(f"{spec.name}-") if stage == "scorer" else runs.get(item)
            yield name, getattr(plan, stage)(*([named] if named else []))


class _Plan:
    """Estimates of a spec's stages, each by the method of its name."""

    def __init__(self, spec: Spec, wanted: Collection[str]) -> None:
        self.spec, self.paths = spec, Paths(spec.name)
        self.teacher_is_done = f"teacher@{spec.name}" not in wanted
        self.base = int(peak_memory_mb("cpu") * 2**20) if device().type == "cpu" else 0
        """Bytes that libraries take."""
        self.cached: set[tuple[tuple[int, ...], Cache]] = set()
        """Trajectories that a student before computes."""
        self.teachers_are_scored = False
        """Whether a row before has the scorers look at the teacher's images, which they do once."""

    @cached_property
    def network(self) -> Denoiser:
        """The teacher's: the stored one, one that is to be taken over, or one with fresh weights."""
        teacher, shape = self.spec.teacher, self.spec.data.shape
        if self.teacher_is_done:
            return storage.load(self.paths.teacher, device())
        if not isinstance(teacher.source, TrainedTeacher):
            return find_teacher(teacher, shape).to(device())
        config = unet_config(teacher.source.network, shape, teacher.classes)
        return build(config, contract_of(teacher), 0).to(device())

    @cached_property
    def weights(self) -> int:
        """Bytes of the teacher's weights; a student is taken to have as many."""
        return FLOAT * sum(parameter.numel() for parameter in self.network.parameters())

    @cached_property
    def images(self) -> int:
        """How many the data set has."""
        data = self.spec.data
        return sum(stream.images for stream in load(data)) if isinstance(data, Folder) else data.images

    @property
    def pixels(self) -> int:
        """Bytes of one image."""
        return prod(self.spec.data.shape)

    @cached_property
    def scorers(self) -> dict[str, Extractor]:
        """The scorers' networks, with random weights."""
        return {
            name: _scorer(settings, self.spec.data.shape) for name, settings in self.spec.evaluation.scorers.items()
        }

    @cached_property
    def scoring(self) -> dict[str, float]:
        """Seconds per image in each scorer's network."""
        most = self.spec.evaluation.batch_size
        return {name: _seconds(self.through(scorer), most) for name, scorer in self.scorers.items()}

    def through(self, scorer: Extractor) -> Callable[[int], Tensor]:
        """A scorer's features of so many images."""
        return lambda count: scorer.extract(self.blank(count))[0]

    def blank(self, count: int) -> np.ndarray:
        """So many images."""
        return np.zeros((count, *self.spec.data.shape), np.uint8)

    @cached_property
    def batch_memory(self) -> int:
        """Bytes of what the sampler's network, or a scorer's, holds of the batch that passes it."""
        drawn = self.spec.evaluation.batch_size * peak_tensor_bytes(lambda: _evaluated(self.network, FEW, "fp32"))
        scored = (each.batch * peak_tensor_bytes(partial(self.through(each), FEW)) for each in self.scorers.values())
        return max(drawn, *scored) // FEW

    @cached_property
    def real(self) -> int:
        """How many real images distances are measured to, as far as that is known before they are there."""
        return min(self.images // 2, KEPT)

    @cached_property
    def comparing(self) -> dict[str, float]:
        """Seconds that an evaluation spends on each scorer's features, once these are there."""
        samples = self.spec.evaluation.samples
        return {
            name: comparing.time_computations(scorer.features, device()).total(samples, self.real)
            for name, scorer in self.scorers.items()
        }

    @cached_property
    def compared(self) -> float:
        """Seconds that it takes to compare one image of a student with the teacher's, pixel by pixel."""
        images = self.blank(BATCH)
        pixel_similarities(images[:1], images[:1], device())  # the first one imports what it needs
        return comparing.seconds(lambda: pixel_similarities(images, images, device())) / BATCH

    @cached_property
    def measured(self) -> dict[str, float]:
        """Seconds per forward-equivalent of the students of this teacher that were trained here before, by run."""
        found = {}
        for run in self.spec.runs() if self.teacher_is_done else ():
            took = _took(self.paths.timing(run.student, run.seed))
            if took and (paid := read_cost(self.paths.student(run.student, run.seed))["total"]):
                found[run.name] = took["seconds"] / paid
        return found

    @property
    def forward(self) -> float:
        """Seconds per image and forward pass in sampling."""
        return _forward(self.network, "fp32", self.spec.evaluation.batch_size)

    def equivalent(self, training: Training, run: str = "") -> float:
        """Seconds of a forward-equivalent: as this student took it, or the others did, or as a forward pass does."""
        if run and self.measured:
            return self.measured.get(run, median(self.measured.values()))
        return _forward(self.network, training.precision, training.batch_size)

    def training_memory(self, settings: Training, *arrays: int) -> int:
        """Bytes; arrays that are larger than their share of the free memory are read from files instead."""
        held = sum(size for size in arrays if size <= RESIDENT * free_memory(device().type))
        batch = settings.batch_size * _activations(self.network, settings.precision)
        trained = TRAINED_BYTES + FLOAT * len(settings.other_averages)
        return self.base + trained * self.weights // FLOAT + batch + held

    def stored(self, settings: Training) -> int:
        """Bytes of the weights that a training leaves."""
        return (1 + len(settings.other_averages)) * self.weights

    def fake_memory(self, method: Trained) -> int:
        """Bytes of a fake in training and of its activations, with the teacher's."""
        if (term := distribution_of(method.terms)) is None:
            return 0
        settings = method.training
        batch = settings.batch_size * _activations(self.network, settings.precision)
        return (TRAINED_BYTES - (0 if term.average else FLOAT)) * self.weights // FLOAT + batch

    def data(self) -> Estimate:
        """Image files are decoded; other sets take seconds, or a download."""
        files = self.images if isinstance(self.spec.data, CelebAHQ | LSUN | Folder) else 0
        return Estimate(seconds=START + files * DECODING, disk=self.images * self.pixels)

    def scorer(self, name: str) -> Estimate:
        """Its training, where it has one, and the features of all real images."""
        settings, features = self.spec.evaluation.scorers[name], self.scorers[name].features
        passes, memory = self.images, self.base
        if isinstance(settings, Classifier):
            passes += TRAINED * settings.training.images
            memory += self.images * self.pixels
        disk = min(self.images, KEPT) * features * FLOAT + 8 * features**2
        return Estimate(seconds=START + passes * self.scoring[name], disk=disk, memory=memory)

    def teacher(self) -> Estimate:
        """Its training; nearly nothing where it is taken over."""
        source = self.spec.teacher.source
        if not isinstance(source, TrainedTeacher):
            return Estimate(disk=self.weights, memory=self.base + self.weights)
        training = source.training
        equivalents = TRAINED * training.images
        memory = self.training_memory(training, self.images * self.pixels)
        return Estimate(
            seconds=START + equivalents * self.equivalent(training), disk=self.stored(training), memory=memory
        )

    def reference(self) -> Estimate:
        """The teacher's own images."""
        wanted = self.spec.evaluation
        count, steps = wanted.samples + PAIRS * STEPS, len(self.spec.levels_of(wanted.reference.index_set))
        seconds = START + count * steps * self.forward
        return Estimate(seconds=seconds, disk=count * self.pixels, memory=self.base + self.weights)

    def distill(self, run: Run) -> Estimate:
        """A training; the first student that asks for some trajectories computes them, those after it read them."""
        spec, student, levels = self.spec, self.spec.students[run.student], self.spec.levels(run.student)
        method = student.method
        if not isinstance(method, Trained):
            return Estimate(disk=self.weights)
        sizes = {each: _trajectories(self.network, len(levels), each) for each in method.caches()}
        new = {each for each in sizes if (levels, each) not in self.cached}
        self.cached |= {(levels, each) for each in new}
        network = share(method.start, self.network.config)
        cost = method.cost(levels, spec.teacher.noise_schedule, spec.teacher.timesteps, network)
        sources = getattr(method, "sources", ())
        real = not sizes or any(isinstance(source, DataSource) for source in sources)
        images = self.images * self.pixels if real else 0
        return Estimate(
            seconds=START + (cost.total if new else cost.training) * self.equivalent(method.training, run.name),
            disk=self.stored(method.training),
            scratch=sum(sizes[each] for each in new),
            memory=self.weights
            + self.training_memory(method.training, images, *sizes.values())
            + self.fake_memory(method),
        )

    def evaluate(self, run: Run) -> Estimate:
        """Images, their features and what is computed from these, or as long as it took before."""
        samples, steps = self.spec.evaluation.samples, len(self.spec.levels(run.student))
        folder, sizes = self.paths.result(run.student, run.seed), [scorer.features for scorer in self.scorers.values()]
        memory = self.base + 2 * self.weights + self.batch_memory + comparing.memory(samples, self.real, sizes)
        if self.teacher_is_done and (took := _took(folder / "timing.json")):
            before = read_mapping(folder / "metrics.json")
            scale = samples * steps / (before["samples"] * before["nfe"])
            return Estimate(seconds=START + scale * took["evaluation_seconds"], memory=memory)
        other, strips = 0 if self._is_reference(run) else 1, PAIRS * STEPS
        drawn, seen = other * (samples + strips), 2 * strips + samples * (other + (not self.teachers_are_scored))
        self.teachers_are_scored = True
        scoring = {name: seen * seconds + self.comparing[name] for name, seconds in self.scoring.items()}
        own = (drawn * steps + TIMING) * self.forward + samples * self.compared
        seconds = START + own + sum(scoring.values())
        return Estimate(seconds=seconds, memory=memory, scoring=scoring)

    def _is_reference(self, run: Run) -> bool:
        """Whether its images are those of the reference, so that none are drawn."""
        student, wanted = self.spec.students[run.student], self.spec.evaluation.reference
        same_levels = self.spec.levels(run.student) == self.spec.levels_of(wanted.index_set)
        same_sampler = student.method == Free(kind="free", solver=wanted.solver)
        return same_levels and same_sampler and student.clip_sample == wanted.clip_sample


def _trajectories(teacher: Denoiser, steps: int, asked: Cache) -> int:
    """Bytes: states in fp32 at every level and 0, and features in fp16 where each jump lands."""
    states, features = prod(teacher.image_shape), prod(teacher.feature_shape)
    return asked.noises * ((steps + 1) * states * FLOAT + steps * features * FLOAT // 2)


def _took(timing: Path) -> dict[str, Any] | None:
    """What a stage took when it ran last; None where that was never, or on another kind of processor."""
    found = dict(read_mapping(timing)) if timing.exists() else {}
    return found if found.get("machine", {}).get("processor") == machine(1)["processor"] else None


@cache
def _forward(network: Denoiser, precision: str, most: int) -> float:
    return _seconds(lambda size: _evaluated(network, size, precision).output, most)


def _evaluated(network: Denoiser, size: int, precision: str) -> Evaluated:
    level = torch.ones(size, dtype=torch.int64, device=network.device)
    with torch.autocast(network.device.type, torch.bfloat16, enabled=precision == "bf16"):
        told = network.given(class_of(network.contract, level))
        found: Evaluated = told(torch.randn(size, *network.image_shape, device=network.device), level)
    return found


@torch.no_grad()
def _seconds(forward: Callable[[int], Tensor], most: int) -> float:
    """Seconds per image of a forward pass with as many as take long enough, at most `most`."""
    forward(1)  # the first one is slower
    size = 1
    while True:
        began = time.perf_counter()
        forward(size).flatten()[0].item()  # which a GPU has to be done for
        seconds = time.perf_counter() - began
        if seconds > LONG_ENOUGH or size >= most:
            return seconds / size
        size = min(4 * size, most)


@cache
def _activations(network: Denoiser, precision: str) -> int:
    """Bytes that one image leaves for its backward pass, weights aside."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.requires_grad_(True).parameters()}
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        _evaluated(network, 1, precision)
    return sum(size for pointer, size in saved.items() if pointer not in weights)


def _scorer(settings: Scorer, shape: tuple[int, int, int]) -> Extractor:
    """The scorer with random weights."""
    with TemporaryDirectory() as folder:
        write_untrained(Path(folder), settings, shape)
        return load_extractor(Path(folder), device())
