"""A stand-in for a public teacher: `python -m bench.public_teacher FOLDER`.

A DDPM of 8x8 digits (linear, T = 1000, predicts noise) that is trained here for half a minute and saved by diffusers'
own pipeline, so that `teacher.source: {kind: diffusers, ...}` can be tried without a network.
"""

import sys
import tempfile
from pathlib import Path

from attrs import evolve
from diffusers import DDPMPipeline, DDPMScheduler

from sfddm.data import store
from sfddm.data.prepare import prepare
from sfddm.runtime.machine import device
from sfddm.spec.read import load_spec
from sfddm.spec.teacher import Trained
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.teacher import train_teacher

T = 1000


def main(out: str) -> None:
    """Train and save it."""
    spec = load_spec("tests/tiny.yaml")
    source = spec.teacher.source
    assert isinstance(source, Trained)
    training = evolve(source.training, iterations=800, learning_rate=3e-3, average=0.98, batch_size=128)
    source = evolve(source, training=training, network=evolve(source.network, channels=(16, 32)))
    teacher = evolve(spec.teacher, timesteps=T, noise_schedule="linear", prediction="epsilon", source=source)
    with tempfile.TemporaryDirectory(dir=".") as temporary:
        folder = Path(temporary)
        prepare(spec.data, folder)
        split = store.read(folder, "train")
        with Curve(folder / "curve", "teacher", training.iterations, training.batch_size) as curve:
            trained = train_teacher(teacher, split, device(), curve, Checkpoints(folder / "checkpoints", {})).network
    scheduler = DDPMScheduler(T, beta_schedule="linear", beta_start=1e-4, beta_end=0.02)
    DDPMPipeline(unet=trained.network.cpu(), scheduler=scheduler).save_pretrained(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
