"""Distill: make one student with the method that its spec names."""

import shutil
import time

from sfddm.diffusion.spacing import resolve
from sfddm.methods.job import Job
from sfddm.methods.job import distill as make
from sfddm.networks.layout import COST, write_sampler
from sfddm.pipeline.params import code, section
from sfddm.pipeline.paths import Paths
from sfddm.runtime.files import atomic_folder, digest_folder, write_json
from sfddm.runtime.kinds import import_kind
from sfddm.runtime.machine import device, scratch, usage
from sfddm.runtime.processes import is_main, world_size
from sfddm.spec.experiment import Run, Spec
from sfddm.spec.parse import unstructure
from sfddm.spec.read import load_spec
from sfddm.tracking.live import follow_training
from sfddm.training.checkpoints import Checkpoints
from stages.harness import main


def distill(spec_name: str, student: str, seed: str) -> None:
    """Write `runs/SPEC/students/STUDENT-sSEED`, and apart from it what that took: measured, so never the same twice."""
    spec = load_spec(spec_name)
    run, paths = spec.run(student, seed), Paths(spec.name)
    curve = scratch() / "curves" / f"{run.name}.jsonl"
    job = Job(
        name=run.name,
        student=spec.students[student],
        levels=resolve(spec.students[student].index_set, spec.teacher.noise_schedule, spec.teacher.timesteps),
        seed=run.seed,
        parent=paths.parent(spec.parent(run)),
        data=paths.data,
        cache=scratch() / "trajectories",
        curve=curve,
        checkpoints=_checkpoints(spec, run),
        training_starts=lambda iterations: follow_training(spec, run, curve, iterations, device().type),
    )
    import_kind("distill", job.student.method.kind)  # torch takes seconds to import: not counted
    started = time.perf_counter()
    made = make(job)
    if not is_main():
        return
    with atomic_folder(paths.student(student, run.seed)) as folder:
        made.write(folder)
        write_sampler(folder, made.sampler)
        write_json(folder / COST, made.cost)
        if made.curve is not None:
            shutil.copyfile(made.curve, folder / "curve.jsonl")
    seconds = job.checkpoints.earlier_seconds + time.perf_counter() - started
    used = device().type if made.curve is not None else "cpu"
    write_json(paths.timing(student, run.seed), usage(seconds, used, world_size()))
    job.checkpoints.remove()


def _checkpoints(spec: Spec, run: Run) -> Checkpoints:
    paths, student = Paths(spec.name), spec.students[run.student]
    inputs = {
        "student": {**unstructure(student), "seeds": run.seed},
        "levels": list(spec.levels(run.student)),
        "parent": digest_folder(paths.parent(spec.parent(run))),
        "data": digest_folder(paths.data),
        "code": code(section("distill", spec, run.student)),
    }
    return Checkpoints(scratch() / "checkpoints" / run.name, inputs)


if __name__ == "__main__":
    main(distill, "spec", "student", "seed", shares=True)
