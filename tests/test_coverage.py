"""How often intervals of differences hold the truth, in small; `python -m bench.coverage` measures it in large."""

from statistics import fmean

import pytest
import torch

from bench.coverage import Case, simulate
from sfddm.evaluation.distances import frechet_jackknife
from sfddm.evaluation.moments import Sample, blocks, frechet_distance
from sfddm.evaluation.statistics import Measured, paired_difference


def small(name: str, seeds: int = 1, other_scale: float = 1.02, shift: float = 0.05) -> Case:
    return Case(name=name, dimensions=16, images=1000, real=300, seeds=seeds, other_scale=other_scale, shift=shift)


@pytest.mark.parametrize(
    ("case", "repetitions", "most"),
    [
        (small("one seed"), 100, 0.99),
        (small("three seeds", seeds=3), 50, 1.0),  # few degrees of freedom make it wide
        (small("unequal covariances", other_scale=0.9, shift=0.0), 100, 0.99),
    ],
    ids=lambda value: value.name if isinstance(value, Case) else "",
)
def test_intervals_hold_the_truth_about_as_often_as_they_say(case: Case, repetitions: int, most: float) -> None:
    found = simulate(case, repetitions)
    assert 0.90 <= found.coverage <= most, found
    assert found.error == pytest.approx(found.scatter, rel=0.3), found
    assert found.wrong == 0, found


def test_a_difference_that_is_large_enough_has_the_right_sign_each_time() -> None:
    found = simulate(small("unequal covariances", other_scale=0.9, shift=0.0), 100)
    assert found.truth > 0
    assert found.sign == 1


def measured(own: Sample, real: Sample) -> Measured:
    values = frechet_jackknife(own, real)
    return Measured(whole=frechet_distance(own.whole, real.whole), **{draw: tuple(of) for draw, of in values.items()})


def test_a_student_of_too_little_variety_is_farther_away_though_each_of_its_blocks_is_nearer() -> None:
    """The covariance of few images scatters; that makes all distances larger, those of a narrow student by less, and
    in blocks by more than what it lacks."""
    random = torch.Generator().manual_seed(0)
    real, wide = (Sample(torch.randn(count, 64, generator=random)) for count in (3000, 320))
    narrow = Sample(0.8**0.5 * wide.features)

    def distance(own: Sample, block: slice) -> float:
        return frechet_distance(Sample(own.features[block]).whole, real.whole)

    assert fmean(distance(narrow, block) - distance(wide, block) for block in blocks(320)) < -1
    found = paired_difference([measured(narrow, real)], [measured(wide, real)])
    assert found.low > 0, "the whole interval"
