"""How fast images are scored, and in how much memory: `python -m bench.scoring [IMAGES [SIZE]]`.

CIFAR-10's test images (again and again where more are asked for) stand for a student's, its training images for the
teacher's and for the real ones, and a ResNet-18 with random weights for the scorer: speed and memory are those of any
weights. SIZE is what images are resized to (32 by default). The data lie where `SFDDM_DATA_ROOT` names.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from sfddm.runtime.machine import calm_threads

calm_threads()  # before torch is imported

import torch  # noqa: E402

from sfddm.data import store  # noqa: E402
from sfddm.data.prepare import prepare  # noqa: E402
from sfddm.diffusion.sampler import Sampler  # noqa: E402
from sfddm.evaluation.interpolation import PAIRS, STEPS  # noqa: E402
from sfddm.evaluation.measure import Drawn, measure  # noqa: E402
from sfddm.evaluation.real import Splits, write_real  # noqa: E402
from sfddm.evaluation.reference import Reference  # noqa: E402
from sfddm.evaluation.scorer import load_scorer  # noqa: E402
from sfddm.evaluation.scorers.extractor import load_extractor, write_untrained  # noqa: E402
from sfddm.runtime.machine import device  # noqa: E402
from sfddm.runtime.memory import peak_memory_mb  # noqa: E402
from sfddm.spec.data import CIFAR10  # noqa: E402
from sfddm.spec.evaluation import OwnStatistics, Torchvision  # noqa: E402

MODEL = "resnet18"


def main(count: int, size: int) -> None:
    """Print images a second, and the largest resident memory of the process."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        test, train = _cifar10(folder, count)
        real = Splits(train=train, test=test, unseen=np.arange(count))
        statistics = OwnStatistics(kind="data")
        settings = Torchvision(kind="torchvision", model=MODEL, size=size, sha256="0" * 64, statistics=statistics)
        write_untrained(folder, settings, (3, 32, 32))
        extractor = load_extractor(folder, device())
        scored: dict[str, tuple[int, Callable[[], Any]]] = {
            "real images: features, moments, floor": (
                2 * len(train) + len(test),  # the training images' moments, and the floor, which is of some of them
                lambda: write_real(folder, extractor, real, count, False, None),
            ),
            "a student's and the teacher's: every metric": (2 * count, lambda: _measure(folder, test, train)),
        }
        print(f"{MODEL} at {size}x{size} on {device()}, {torch.get_num_threads()} threads, {count} images")
        for what, (images, work) in scored.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            print(f"{what}: {images / wall:.0f} img/s, {images / cpu:.0f} img a second of CPU time", flush=True)
    print(f"largest resident memory: {peak_memory_mb('cpu'):.0f} MiB")


def _measure(folder: Path, images: np.ndarray, teachers: np.ndarray) -> None:
    sampler = Sampler(solver="ddim", levels=(1,), clip_sample=True)
    strips, theirs = (np.resize(some, (PAIRS, STEPS, *some.shape[1:])) for some in (images, teachers))
    reference = Reference(images=teachers, strips=theirs, sampler=sampler, weights="none", digest="none")
    measure(Drawn(images=images, strips=strips), reference, {MODEL: load_scorer(folder, device())}, "scoring")


def _cifar10(folder: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """So many test and training images."""
    prepare(CIFAR10(kind="cifar10", size=32, flip=False), folder)
    test, train = (store.read(folder, split).images for split in ("test", "train"))
    return np.resize(test, (count, *test.shape[1:])), np.resize(train, (count, *train.shape[1:]))


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:3]]
    main(*given, *(10_000, 32)[len(given) :])
