"""Evaluate: one student's figures, times and pictures."""

from sfddm.environment import device
from sfddm.evaluation.evaluate import evaluate as judge
from sfddm.files import atomic_folder
from sfddm.paths import Paths
from sfddm.spec.read import load_spec
from stages.harness import main


def evaluate(spec_name: str, student: str, seed: str) -> None:
    """Write `runs/SPEC/results/STUDENT-sSEED`."""
    spec = load_spec(spec_name)
    paths, wanted = Paths(spec.name), spec.evaluation
    with atomic_folder(paths.result(student, int(seed))) as folder:
        judge(
            paths.student(student, int(seed)),
            paths.teacher,
            paths.reference,
            paths.scorer,
            wanted.noise_seed,
            wanted.batch_size,
            device(),
            folder,
            f"{spec.name}-{student}-s{seed}",
        )


if __name__ == "__main__":
    main(evaluate, "spec", "student", "seed")
