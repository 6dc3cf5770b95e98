"""Distill: make one student with the method that its spec names."""

import shutil

from sfddm.diffusion.index_set import resolve
from sfddm.environment import scratch
from sfddm.errors import UserError
from sfddm.files import atomic_folder, write_json
from sfddm.methods.job import Job
from sfddm.methods.job import distill as make
from sfddm.networks.layout import write_sampler
from sfddm.paths import Paths
from sfddm.spec.read import load_spec
from sfddm.tracking.start import follow_training
from stages.harness import main


def distill(spec_name: str, student: str, seed: str) -> None:
    """Write `runs/SPEC/students/STUDENT-sSEED`."""
    spec = load_spec(spec_name)
    runs = {(run.student, str(run.seed)): run for run in spec.runs()}
    if (student, seed) not in runs:
        known = ", ".join(" ".join(key) for key in runs)
        raise UserError(f"{spec.name} has no student {student!r} with seed {seed}; it has: {known}.")
    run, paths = runs[student, seed], Paths(spec.name)
    job = Job(
        name=run.name,
        module=run.module,
        student=spec.students[student],
        levels=resolve(spec.students[student].index_set, spec.teacher.timesteps),
        seed=run.seed,
        teacher=paths.teacher,
        data=paths.data,
        cache=scratch() / "trajectories",
        curve=scratch() / "curves" / f"{run.name}.jsonl",
    )
    follow_training(spec, run, job.curve)
    made = make(job)
    with atomic_folder(paths.student(student, run.seed)) as folder:
        made.write(folder)
        write_sampler(folder, made.sampler)
        write_json(folder / "cost.json", made.cost.to_json())
        if made.curve is not None:
            shutil.copyfile(made.curve, folder / "curve.jsonl")


if __name__ == "__main__":
    main(distill, "spec", "student", "seed")
