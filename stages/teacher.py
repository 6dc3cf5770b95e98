"""Teacher: train the diffusion model that students are distilled from, or take over one that was trained elsewhere."""

import time

from sfddm.data import store
from sfddm.networks import storage
from sfddm.networks.layout import SOURCE
from sfddm.pipeline.params import code
from sfddm.pipeline.paths import Paths
from sfddm.runtime.files import atomic_folder, digest_folder, write_json, write_text
from sfddm.runtime.machine import device, scratch, usage
from sfddm.runtime.processes import is_main, world_size
from sfddm.spec.experiment import Spec
from sfddm.spec.parse import unstructure
from sfddm.spec.read import load_spec
from sfddm.spec.teacher import Trained
from sfddm.teachers.importing import import_teacher
from sfddm.tracking.live import follow_teacher
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.teacher import train_teacher
from stages.harness import main


def teacher(spec_name: str) -> None:
    """Write `runs/SPEC/teacher`, and apart from it what that took: measured, so never the same twice."""
    spec = load_spec(spec_name)
    source, started = spec.teacher.source, time.perf_counter()
    checkpoints = None
    if isinstance(source, Trained):
        checkpoints = _train(spec, source)
    elif is_main():
        _import(spec)
    if not is_main():
        return
    seconds = time.perf_counter() - started + (checkpoints.earlier_seconds if checkpoints else 0.0)
    used = device().type
    write_json(Paths(spec.name).teacher_timing, usage(seconds, used, world_size()))
    if checkpoints:
        checkpoints.remove()


def _train(spec: Spec, source: Trained) -> Checkpoints:
    """Train the teacher, and return the checkpoints, which nothing needs once all outputs are written."""
    paths, settings = Paths(spec.name), source.training
    split = store.read(paths.data, "train")
    name = f"{spec.name}-teacher"
    inputs = {"teacher": unstructure(spec.teacher), "data": digest_folder(paths.data), "code": code("teacher")}
    checkpoints = Checkpoints(scratch() / "checkpoints" / name, inputs)
    path = scratch() / "curves" / f"{name}.jsonl"
    follow_teacher(spec, path, settings.iterations, device().type)
    with Curve(path, "teacher", settings.iterations, settings.batch_size) as curve:
        trained = train_teacher(spec.teacher, split, device(), curve, checkpoints)
    if is_main():
        with atomic_folder(paths.teacher) as folder:
            storage.write(folder, trained.network, trained.others)
            write_text(folder / "curve.jsonl", curve.text)
    return checkpoints


def _import(spec: Spec) -> None:
    """Take over the teacher that the spec names."""
    paths = Paths(spec.name)
    split = store.read(paths.data, "train")
    imported, source = import_teacher(spec.teacher, split.images, device(), split.labels)
    with atomic_folder(paths.teacher) as folder:
        storage.write(folder, imported)
        write_json(folder / SOURCE, source)


if __name__ == "__main__":
    main(teacher, "spec", shares=True)
