"""A scorer's folder: its network, and the real images in its features."""

from pathlib import Path

from sfddm.data import store
from sfddm.evaluation.real import FileMoments, Splits, read_statistics, write_real
from sfddm.evaluation.scorers.extractor import Job, load_extractor, unseen_by, write_extractor
from sfddm.runtime.files import atomic_folder
from sfddm.runtime.kinds import import_kind
from sfddm.runtime.processes import is_main
from sfddm.spec.evaluation import GivenStatistics, Scorer


def write_scorer(out: Path, settings: Scorer, job: Job, samples: int, datasets: Path) -> None:
    """Make a scorer, and write it into the folder `out`, whole or not at all.

    Args:
        out: where it goes.
        settings: the spec's section.
        job: what it is made from; the data's splits are the real images.
        samples: n, how many images a student is judged by.
        datasets: where a file with moments of real images is, if the section names one.

    Raises:
        UserError: too few images, weights or moments that are not there, or what its training raises.
    """
    kind = import_kind("scorer", settings.kind)
    network = kind.make(settings, job)
    if not is_main():
        return
    train = store.read(job.data, "train").images
    test = store.read(job.data, "test").images if store.has(job.data, "test") else None
    splits = Splits(train=train, test=test, unseen=unseen_by(settings, len(train)))
    with atomic_folder(out) as folder:
        write_extractor(folder, network, settings, job.shape)
        extractor = load_extractor(folder, job.device)
        moments = _moments(settings, extractor.features, datasets)
        write_real(folder, extractor, splits, samples, kind.STANDARDISE, moments)


def _moments(settings: Scorer, features: int, datasets: Path) -> FileMoments | None:
    """The moments of real images that the section takes from a file; None for those of the training split."""
    wanted = getattr(settings, "statistics", None)
    if not isinstance(wanted, GivenStatistics):
        return None
    return read_statistics(datasets / wanted.file, wanted.sha256, wanted.images, features)
