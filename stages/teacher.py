"""Teacher: train the diffusion model that students are distilled from."""

import time

from sfddm.data import store
from sfddm.environment import device, machine, scratch
from sfddm.files import atomic_folder, digest_folder, write_json, write_text
from sfddm.memory import peak_memory_mb
from sfddm.networks import storage
from sfddm.paths import Paths
from sfddm.spec.read import load_spec
from sfddm.spec.structure import unstructure
from sfddm.tracking.start import follow_teacher
from sfddm.training.checkpoints import Checkpoints
from sfddm.training.curve import Curve
from sfddm.training.teacher import train_teacher
from stages.harness import main


def teacher(spec_name: str) -> None:
    """Write `runs/SPEC/teacher`, and apart from it what that took: measured, so never the same twice."""
    spec = load_spec(spec_name)
    paths, settings = Paths(spec.name), spec.teacher.source.training
    images = store.read(paths.data, "train").images
    name = f"{spec.name}-teacher"
    inputs = {"teacher": unstructure(spec.teacher), "data": digest_folder(paths.data)}
    checkpoints = Checkpoints(scratch() / "checkpoints" / name, inputs)
    path, started = scratch() / "curves" / f"{name}.jsonl", time.perf_counter()
    follow_teacher(spec, path, settings.iterations, device().type)
    with Curve(path, "teacher", settings.iterations, settings.batch_size) as curve:
        trained = train_teacher(spec.teacher, images, device(), curve, checkpoints)
    with atomic_folder(paths.teacher) as folder:
        storage.write(folder, trained)
        write_text(folder / "curve.jsonl", curve.text)
    seconds, used = checkpoints.earlier_seconds + time.perf_counter() - started, device().type
    usage = {"seconds": seconds, "peak_memory_mb": peak_memory_mb(used), "device": used, "machine": machine()}
    write_json(paths.teacher_timing, usage)
    checkpoints.remove()


if __name__ == "__main__":
    main(teacher, "spec")
