"""Scorer: the feature extractor that distances are measured in, and the real images in its features."""

from sfddm.data.source import root
from sfddm.evaluation.scorers.extractor import Job
from sfddm.evaluation.scorers.write import write_scorer
from sfddm.pipeline.params import code, section
from sfddm.pipeline.paths import Paths
from sfddm.runtime.files import digest_folder
from sfddm.runtime.machine import device, scratch
from sfddm.runtime.processes import is_main
from sfddm.spec.parse import unstructure
from sfddm.spec.read import load_spec
from sfddm.training.checkpoints import Checkpoints
from stages.harness import main


def scorer(spec_name: str, scorer_name: str) -> None:
    """Write `runs/SPEC/scorers/SCORER`."""
    spec = load_spec(spec_name)
    paths, settings, name = Paths(spec.name), spec.scorer(scorer_name), f"{spec.name}-{scorer_name}-scorer"
    inputs = {
        "scorer": unstructure(settings),
        "data": digest_folder(paths.data),
        "code": code(section("scorer", spec, scorer_name)),
    }
    job = Job(
        data=paths.data,
        shape=spec.data.shape,
        device=device(),
        curve=scratch() / "curves" / f"{name}.jsonl",
        checkpoints=Checkpoints(scratch() / "checkpoints" / name, inputs),
    )
    write_scorer(paths.scorer(scorer_name), settings, job, spec.evaluation.samples, root())
    if is_main():
        job.checkpoints.remove()


if __name__ == "__main__":
    main(scorer, "spec", "scorer", shares=True)
