"""Evaluate: one student's figures, times and pictures."""

from sfddm.evaluation.evaluate import evaluate as judge
from sfddm.pipeline.paths import Paths
from sfddm.runtime.machine import device, scratch
from sfddm.spec.read import load_spec
from stages.harness import main


def evaluate(spec_name: str, student: str, seed: str) -> None:
    """Write `runs/SPEC/results/STUDENT-sSEED`."""
    spec = load_spec(spec_name)
    run, paths = spec.run(student, seed), Paths(spec.name)
    judge(
        student=paths.student(student, run.seed),
        teacher=paths.teacher,
        reference=paths.reference,
        scorers={name: paths.scorer(name) for name in spec.evaluation.scorers},
        seed=spec.evaluation.noise_seed,
        batch_size=spec.evaluation.batch_size,
        device=device(),
        views=scratch() / "views",
        out=paths.result(student, run.seed),
        label=run.name,
    )


if __name__ == "__main__":
    main(evaluate, "spec", "student", "seed", shares=True)
