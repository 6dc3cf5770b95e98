"""Differences between students by hand: the estimate, its error from both draws and the training seeds, the verdict."""

from collections.abc import Sequence

import numpy as np
import pytest

from sfddm.evaluation.statistics import (
    Difference,
    Measured,
    Verdict,
    against,
    agreed,
    difference,
    measured,
    paired_difference,
    standard_error,
)

T4 = 2.7764451
"""The 97.5 % quantile of Student's t with 4 degrees of freedom."""


def of_blocks(*values: float, shift: float = 0.0) -> Measured:
    """A mean over blocks, which has nothing to do with real images."""
    rows = [value + shift for value in values]
    without = tuple((sum(rows) - row) / (len(rows) - 1) for row in rows)
    return Measured(whole=sum(rows) / len(rows), images=without)


def of_table(rows: Sequence[Sequence[float]]) -> Measured:
    """A mean over pairs of a block of images (rows) and a block of real images (columns)."""
    table, places = np.array(rows, dtype=float), range(len(rows))
    return Measured(
        whole=table.mean(),
        images=tuple(np.delete(table, place, 0).mean() for place in places),
        real=tuple(np.delete(table, place, 1).mean() for place in places),
        both=tuple(np.delete(np.delete(table, place, 0), place, 1).mean() for place in places),
    )


A, B = of_blocks(3, 5, 4, 7, 6), of_blocks(2, 3, 3, 4, 3)
"""Block by block they differ by 1, 2, 1, 3, 3: mean 2, variance 1."""


def test_one_seed_each() -> None:
    found = paired_difference([A], [B])
    assert found.estimate == pytest.approx(2)
    assert found.error == pytest.approx((1 / 5) ** 0.5)
    assert found.degrees == pytest.approx(4)
    assert found.half_width == pytest.approx(T4 * (1 / 5) ** 0.5, rel=1e-6)
    assert (found.low, found.high) == (found.estimate - found.half_width, found.estimate + found.half_width)
    assert found.different
    swapped = paired_difference([B], [A])
    assert (swapped.estimate, swapped.half_width) == (-found.estimate, found.half_width)
    assert swapped.different


def test_the_estimate_is_of_all_images_and_no_mean_over_blocks() -> None:
    """A Frechet distance of fewer images has more bias."""
    biased = Measured(whole=1.0, images=(5.0, 6.0, 7.0))
    assert paired_difference([biased], [Measured(whole=3.0, images=(5.0, 6.0, 7.0))]).estimate == -2


def test_what_noises_do_to_both_students_alike_is_no_difference() -> None:
    noise = (0.0, 100.0, -50.0, 30.0, 7.0)
    found = paired_difference([of_blocks(*noise, shift=1)], [of_blocks(*noise)])
    assert found.estimate == pytest.approx(1)
    assert found.half_width == pytest.approx(0, abs=1e-9)
    other_order = of_blocks(100, 0, -50, 7, 30)
    assert not paired_difference([of_blocks(*noise)], [other_order]).different, "their blocks share nothing"


def test_a_student_does_not_differ_from_itself() -> None:
    found = paired_difference([A], [A])
    assert (found.estimate, found.error, found.half_width, found.different) == (0, 0, 0, False)


EFFECTS = np.array([[0.0, 2, 1], [3, 2, 4], [6, 5, 4]])
"""Means of rows 1, 3, 5 and of columns 3, 3, 3; what is left on the diagonal is -1 each time."""
COLUMNS = np.array([-1.0, 0, 1])
NOTHING = of_table(np.zeros((3, 3)))


def test_noises_and_real_images_that_add_up() -> None:
    """Variance of rows 4, of columns 1, a third of each; nothing is left that depends on both."""
    found = paired_difference([of_table(np.array([[-2.0], [0], [2]]) + COLUMNS)], [NOTHING])
    assert found.error**2 == pytest.approx(4 / 3 + 1 / 3)
    assert found.degrees == pytest.approx((5 / 3) ** 2 / ((4 / 3) ** 2 / 2 + (1 / 3) ** 2 / 2))


def test_what_depends_on_both_draws_counts_once() -> None:
    """A third of 4 and a third of 0 for rows and columns, less 1 / (3 - 1)^2; then likewise with 1 of columns."""
    found = paired_difference([of_table(EFFECTS)], [NOTHING])
    assert found.error**2 == pytest.approx(4 / 3 - 1 / 4)
    assert found.degrees == pytest.approx(2)
    found = paired_difference([of_table(EFFECTS + COLUMNS)], [NOTHING])
    assert found.error**2 == pytest.approx(4 / 3 + 1 / 3 - 1 / 4)
    assert found.degrees == pytest.approx(50 / 17)
    assert standard_error(of_table(EFFECTS + COLUMNS)) == pytest.approx(found.error)


def test_no_more_than_half_is_taken_out() -> None:
    """What is left on the diagonal is rarely as large as here, and the error must not vanish."""
    rows = EFFECTS.mean(1, keepdims=True)
    found = paired_difference([of_table(rows + 10 * (EFFECTS - rows))], [NOTHING])
    assert found.error**2 == pytest.approx(4 / 3 / 2)


def test_the_squared_error_is_the_variance_on_average() -> None:
    """A mean over 20 x 20 pairs with effects of variances 1, 1 and 16 has 1/20 + 1/20 + 16/400, and not that twice."""
    random = np.random.default_rng(0)
    squared = []
    for _ in range(300):
        rows, columns = random.normal(size=(20, 1)), random.normal(size=(1, 20))
        squared.append(standard_error(of_table(rows + columns + 4 * random.normal(size=(20, 20)))) ** 2)
    assert np.mean(squared) == pytest.approx(0.14, rel=0.07)


def test_training_seeds_widen_the_interval() -> None:
    """Draws do the same to all seeds here: 1/5 of them, 2 of 2 seeds and 1 of 3, by 4, 1 and 2 degrees of freedom."""
    a = [of_blocks(3, 5, 4, 7, 6, shift=shift) for shift in (0, 2)]
    b = [of_blocks(2, 3, 3, 4, 3, shift=shift) for shift in (-1, 0, 1)]
    found, squared = paired_difference(a, b), 1 / 5 + 2 / 2 + 1 / 3
    assert found.estimate == pytest.approx(3)
    assert found.error**2 == pytest.approx(squared)
    assert found.degrees == pytest.approx(squared**2 / ((1 / 5) ** 2 / 4 + 1**2 / 1 + (1 / 3) ** 2 / 2))
    assert not found.different
    assert paired_difference(a[:1], b[:1]).half_width < found.half_width


def test_what_draws_do_to_single_seeds_is_not_counted_as_training() -> None:
    """Two seeds of means 5 and 1, variance 8. They differ block by block by 3, 5, 3 + 4, variance 4: each from their
    mean by half of that, variance 1, and a third of it twice is the draws' part of the 8."""
    seeds = [of_blocks(0, 2, 4, shift=3), of_blocks(1, 1, 1)]
    found = paired_difference(seeds, [of_blocks(0, 0, 0)])
    draws, training = 1 / 3, (8 - 2 / 3) / 2
    assert found.estimate == pytest.approx(3)
    assert found.error**2 == pytest.approx(draws + training)
    assert found.degrees == pytest.approx((draws + training) ** 2 / (draws**2 / 2 + training**2 / 1))


def test_seeds_that_differ_less_than_draws_explain_add_nothing() -> None:
    seeds = [of_blocks(0, 2, 4), of_blocks(1, 1, 1)]
    found = paired_difference(seeds, [of_blocks(0, 0, 0)])
    assert found.error**2 == pytest.approx(1 / 3)
    assert found.degrees == pytest.approx(2)


@pytest.mark.parametrize(("comparisons", "quantile"), [(1, T4), (5, 4.6040949), (10, 5.5975684)])
def test_intervals_that_are_looked_at_together_are_wider(comparisons: int, quantile: float) -> None:
    """Quantiles of a table of Student's t, 4 degrees of freedom: 97.5 %, 99.5 % and 99.75 %."""
    found = paired_difference([A], [B], comparisons)
    assert found.half_width == pytest.approx(quantile * (1 / 5) ** 0.5, rel=1e-6)
    assert found.different == (comparisons == 1)
    assert found.estimate == pytest.approx(2)


def metrics(whole: float, *images: float) -> dict[str, object]:
    """A metrics.json with two scorers' distances and a metric that has no scorer."""
    found = {"frechet_distance": whole, "frechet_distance_jackknife": {"images": images, "real": [], "both": []}}
    other = {"frechet_distance": 7.0, "recall": 0.5}
    own = {"mse_to_teacher": 2 * whole, "mse_to_teacher_jackknife": {"images": images}}
    return {**own, "scorers": {"one": found, "other": other}}


def test_the_difference_of_two_files_is_the_first_less_the_second() -> None:
    a, b = metrics(1.0, 1, 2, 3), metrics(4.0, 5, 4, 3)
    found = difference(b, a, "frechet_distance", "one")
    assert found is not None and found.estimate == 3
    found = difference(b, a, "mse_to_teacher")
    assert found is not None and found.estimate == 6
    assert measured(b, "frechet_distance", "one") == Measured(whole=4.0, images=(5, 4, 3))


@pytest.mark.parametrize(
    ("key", "scorer"), [("frechet_distance", "other"), ("recall", "other"), ("frechet_distance", "unheard-of")]
)
def test_there_is_no_difference_without_errors(key: str, scorer: str) -> None:
    assert difference(metrics(1.0, 1, 2), metrics(2.0, 1, 2), key, scorer) is None


def within(estimate: float, half_width: float = 1.0) -> Difference:
    return Difference(estimate, half_width / T4, 4)


@pytest.mark.parametrize(
    ("found", "margin", "verdict"),
    [
        (within(-2), 0.0, "better"), (within(-2), 9.0, "better"), (within(-0.5), 0.0, "open"),
        (within(0.5), 0.0, "open"), (within(0.5), 1.4, "open"), (within(0.5), 1.6, "as good"),
        (within(-0.5), 0.6, "as good"), (within(2), 0.0, "worse"), (within(2), 2.9, "worse"),
        (within(2), 3.1, "as good"),
        (within(0, 0), 0.0, "open"), (within(0, 0), 0.1, "as good"), (within(1, 0), 1.0, "worse"),
    ],
)  # fmt: skip
def test_a_verdict_is_where_the_whole_interval_is(found: Difference, margin: float, verdict: Verdict) -> None:
    assert against(found, margin) == verdict


@pytest.mark.parametrize(
    ("verdicts", "together"),
    [
        *(([each], each) for each in ("better", "as good", "worse", "open")),
        *(([each, each], each) for each in ("better", "as good", "worse", "open")),
        (["better", "as good"], "as good"), (["better", "open"], "open"), (["as good", "open"], "open"),
        (["worse", "open"], "open"), (["better", "as good", "open"], "open"),
        (["better", "worse"], "scorers differ"), (["as good", "worse"], "scorers differ"),
        (["better", "worse", "open"], "scorers differ"), (["better", "as good", "worse", "open"], "scorers differ"),
    ],
)  # fmt: skip
def test_what_scorers_say_counts_where_all_of_them_agree(verdicts: list[Verdict], together: Verdict) -> None:
    assert agreed(verdicts) == agreed(verdicts[::-1]) == together
