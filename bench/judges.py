"""How fast each kind of scorer looks at images, on one core: `python -m bench.judges [SIDE [CHANNELS]]`.

Images of SIDE x SIDE (32 by default) in CHANNELS (3) are noise, and trained networks have random weights: neither
changes the speed. CPU time is shown next to the wall clock, because other work on the machine lengthens the latter.
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from sfddm.runtime.machine import calm_threads

calm_threads()  # before torch is imported

import torch  # noqa: E402

from bench.untrained import write_untrained  # noqa: E402
from sfddm.evaluation.scorers.extractor import Extractor, load_extractor  # noqa: E402
from sfddm.spec.evaluation import Classifier, EfficientNet, PixelValues, Scorer, Transformer  # noqa: E402
from sfddm.spec.read import load_spec  # noqa: E402

BATCHES = (1, 4, 32)
LONG_ENOUGH = 2.0
"""Seconds of CPU time per measurement."""


def main(side: int, channels: int) -> None:
    """Print the images per second of every kind that needs no download."""
    torch.set_num_threads(1)
    print(f"{channels} x {side} x {side}, one thread; images per second of CPU time (of wall clock) by batch")
    for name, settings in _judges(side).items():
        with TemporaryDirectory() as folder:
            write_untrained(Path(folder), settings, (channels, side, side))
            extractor = load_extractor(Path(folder), torch.device("cpu"))
        print(name, *(f"{batch}: {_speed(extractor, batch)}" for batch in BATCHES), sep="  ", flush=True)


def _judges(side: int) -> dict[str, Scorer]:
    """One of each; the classifier's convolutions are those of the digits."""
    classifier = next(
        scorer for scorer in load_spec("digits").evaluation.scorers.values() if isinstance(scorer, Classifier)
    )
    transformer = Transformer(kind="transformer", patch=max(side // 8, 2), width=32, depth=2, heads=4)
    return {
        "convolutions": classifier,
        "transformer": Classifier(
            kind="classifier", network=transformer, features=classifier.features, trained_on="all",
            training=classifier.training, seed=0,
        ),
        "pixels": PixelValues(kind="pixels"),
        "efficientnet": EfficientNet(kind="efficientnet"),
    }  # fmt: skip


@torch.inference_mode()
def _speed(extractor: Extractor, batch: int) -> str:
    images = np.random.default_rng(0).integers(0, 256, (batch, *extractor.shape)).astype(np.uint8)
    extractor.extract(images)
    wall, cpu, seen = time.perf_counter(), time.process_time(), 0
    while time.process_time() - cpu < LONG_ENOUGH:
        extractor.extract(images)
        seen += batch
    return f"{seen / (time.process_time() - cpu):.0f} ({seen / (time.perf_counter() - wall):.0f})"


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:3]]
    main(*given, *(32, 3)[len(given) :])
