"""Scorer: the feature extractor that distances are measured in, and the real images in its features."""

from sfddm.data import store
from sfddm.data.source import root
from sfddm.evaluation.real import FileMoments, Splits, read_statistics, write_real
from sfddm.evaluation.scorers.extractor import Job, load_extractor
from sfddm.evaluation.scorers.seen import unseen_by
from sfddm.pipeline.params import code, section
from sfddm.pipeline.paths import Paths
from sfddm.runtime.files import atomic_folder, digest_folder
from sfddm.runtime.kinds import import_kind
from sfddm.runtime.machine import device, scratch
from sfddm.runtime.processes import is_main
from sfddm.spec.evaluation import GivenStatistics, Scorer
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
    kind = import_kind("scorer", settings.kind)
    write = kind.make(settings, job)
    if not is_main():
        return
    train = store.read(paths.data, "train").images
    test = store.read(paths.data, "test").images if store.has(paths.data, "test") else None
    splits = Splits(train=train, test=test, unseen=unseen_by(settings, len(train)))
    with atomic_folder(paths.scorer(scorer_name)) as folder:
        write(folder)
        extractor = load_extractor(folder, device())
        moments = _moments(settings, extractor.features)
        write_real(folder, extractor, splits, spec.evaluation.samples, kind.STANDARDISE, moments)
    job.checkpoints.remove()


def _moments(settings: Scorer, features: int) -> FileMoments | None:
    """The moments of real images that the spec takes from a file; None where they are those of the training split."""
    wanted = getattr(settings, "statistics", None)
    if not isinstance(wanted, GivenStatistics):
        return None
    return read_statistics(root() / wanted.file, wanted.sha256, wanted.images, features)


if __name__ == "__main__":
    main(scorer, "spec", "scorer", shares=True)
