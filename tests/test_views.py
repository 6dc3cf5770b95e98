"""Each scorer looks at the teacher's images once, and again when anything that their features depend on changes."""

from pathlib import Path

import numpy as np
import torch
from attrs import evolve

from sfddm.evaluation.scorer import Scorer
from sfddm.evaluation.views import teachers_view
from tests.judges import images, scorer
from tests.judges import reference as made_reference


class Counted:
    """A scorer, and the images that it was asked about."""

    def __init__(self, plain: Scorer) -> None:
        self.asked: list[np.ndarray] = []
        extract = plain.extractor.extract

        def counted(some: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
            self.asked.append(some)
            return extract(some)

        self.scorer = evolve(plain, extractor=evolve(plain.extractor, extract=counted))


def test_a_second_row_reads_what_the_first_saw(tmp_path: Path) -> None:
    judge, teachers = Counted(scorer(tmp_path / "scorer", images(3, 60), 40)), made_reference(images(4, 40))
    plain = judge.scorer.view(teachers.images)
    judge.asked.clear()
    seen = [teachers_view(judge.scorer, teachers, tmp_path / "views") for _ in range(2)]
    assert np.array_equal(np.concatenate(judge.asked), teachers.images), "each image once"
    for view in seen:
        assert torch.equal(view.features, plain.features)
        assert plain.classes is not None and view.classes is not None and torch.equal(view.classes, plain.classes)


def test_other_images_another_network_and_other_real_images_have_views_of_their_own(tmp_path: Path) -> None:
    plain, teachers, views = (
        scorer(tmp_path / "a", images(3, 60), 40),
        made_reference(images(4, 40)),
        tmp_path / "views",
    )
    teachers_view(plain, teachers, views)
    other = evolve(made_reference(images(5, 40)), digest="other")
    another = evolve(plain, extractor=evolve(plain.extractor, digest="fedcba9876543210"))
    newer = evolve(plain, extractor=evolve(plain.extractor, version="4 of pixels"))
    elsewhere = scorer(tmp_path / "b", images(6, 60), 40)
    for judge, wanted in ((plain, other), (another, teachers), (newer, teachers), (elsewhere, teachers)):
        counted = Counted(judge)
        view = teachers_view(counted.scorer, wanted, views)
        assert counted.asked and torch.equal(view.features, judge.view(wanted.images).features)


def test_a_damaged_view_is_made_again_and_nothing_is_kept_without_a_folder(tmp_path: Path) -> None:
    plain, teachers, views = (
        scorer(tmp_path / "a", images(3, 60), 40),
        made_reference(images(4, 40)),
        tmp_path / "views",
    )
    wanted = teachers_view(plain, teachers, None)
    assert not views.exists()
    teachers_view(plain, teachers, views)
    (kept,) = views.glob("*.safetensors")
    kept.write_bytes(kept.read_bytes()[:-5])
    assert torch.equal(teachers_view(plain, teachers, views).features, wanted.features)
    counted = Counted(plain)
    teachers_view(counted.scorer, teachers, views)
    assert not counted.asked, "it is whole again"
