"""The comparison's rows, columns and sentences, from figures that are known: every seed counts, and every scorer."""

from typing import Any

import pytest
from attrs import evolve
from scipy.stats import t as student_t

from sfddm.evaluation.metrics import COST, QUALITY, TEACHER
from sfddm.pipeline.rows import Row
from sfddm.registry.gates import remembered
from sfddm.report.advice import advice, headline
from sfddm.report.columns import (
    Column,
    basis_of_scorer,
    columns_of,
    columns_of_scorer,
    explanations,
    explanations_of_scorers,
    terminal_columns,
)
from sfddm.report.page import COST_COLUMNS, cost_rows, resampled
from sfddm.report.table import Table, best_trained, first_of, make_table
from sfddm.spec.experiment import Spec
from sfddm.spec.starter import folder_of
from sfddm.spec.students import Resampled
from tests.experiment import PANEL, WRONG, jackknife
from tests.rows import COST as USUAL
from tests.rows import FREE, OURS, row, seeds, spec_of

DEAR = {**USUAL, "total": 3751}
"""More than 1.25 times the usual cost."""
FAR = 0.04
"""A standard error that is .02 more than the others', which remains in a difference."""


def table_of(*students: list[Row], free: tuple[str, ...] = (), margin: float = 0.1) -> Table:
    spec = spec_with(*students, free=free)
    spec = evolve(spec, evaluation=evolve(spec.evaluation, margin=margin))
    return make_table(spec, [each for rows in students for each in rows])


def spec_with(*students: list[Row], free: tuple[str, ...] = ()) -> Spec:
    names = [rows[0].run.student for rows in students]
    return spec_of({name: FREE if name in free else OURS for name in names})


def shown(table: Table, name: str, scorer: str | None = None) -> dict[str, str]:
    """A column by student, in the table's order."""
    columns = columns_of_scorer(table, scorer) if scorer else columns_of(table)
    return {entry.student: next(column for column in columns if column.name == name).text(entry)
            for entry in table.entries}  # fmt: skip


def half_width(error: float, comparisons: int, degrees: float = 4) -> float:
    """That of the interval which holds with 95 % confidence, for so many at once (Bonferroni)."""
    return float(student_t.ppf(1 - 0.025 / comparisons, degrees)) * error


def test_the_best_is_the_one_with_the_lowest_mean_over_its_seeds() -> None:
    table = table_of(seeds("lucky", 0.3, 0.9), seeds("steady", 0.4, 0.42))
    assert shown(table, "vs best") == {"steady": "best", "lucky": "≈"}
    assert shown(table, "convolutional") == {"steady": "1.64", "lucky": "2.40"}
    first, second = table.entries
    assert first.best and not second.best and first_of([second, first]) is first
    assert second.above_best["pixels"].estimate == pytest.approx(6.0 - 4.1)


def test_the_order_of_the_spec_decides_nothing_between_distances() -> None:
    for order in ((0.7, 0.5, 0.6), (0.5, 0.6, 0.7)):
        table = table_of(*(seeds(f"at {distance}", distance) for distance in order))
        assert shown(table, "vs best") == {"at 0.5": "best", "at 0.6": "worse", "at 0.7": "worse"}


def test_numbers_of_steps_fall_and_each_has_a_best_of_its_own() -> None:
    table = table_of(seeds("a", 0.5, nfe=2), seeds("b", 0.4, nfe=16), seeds("c", 0.3, nfe=2), seeds("d", 0.1))
    assert [[some.student for some in group] for group in table.groups] == [["b"], ["d"], ["c", "a"]]
    assert shown(table, "vs best") == {"b": "", "d": "", "c": "best", "a": "worse"}, "alone is not best"
    assert [entry.best for entry in table.entries] == [False, False, True, False]
    assert table.shared["nfe"] == 2, "some row's, the first"


@pytest.mark.parametrize(
    ("pixels", "first", "second"),
    [
        (6.0, "best", "worse"),
        (4.0, "scorers differ", "scorers differ"),
        (5.0, "best", "≈"),
    ],
    ids=["both agree", "the second reverses the order", "the second sees no difference"],
)
def test_no_row_is_best_that_a_scorer_puts_behind_another(pixels: float, first: str, second: str) -> None:
    """The first scorer has them at .5 and .6, the second at 5 and `pixels`."""
    table = table_of(seeds("a", 0.5), seeds("b", 0.6, pixels=(pixels,)))
    assert shown(table, "vs best") == {"a": first, "b": second}
    assert table.entries[0].best is (first == "best")
    assert shown(table, "convolutional") == {"a": "2.00", "b": "2.40"}
    assert shown(table, "pixels") == {"a": "2.00", "b": f"{pixels / 2.5:.2f}"}


def test_a_scorer_that_prefers_another_row_takes_away_the_best_even_where_the_first_cannot_tell() -> None:
    table = table_of(seeds("a", 0.5), seeds("b", 0.51, error=FAR, pixels=(4.0,)))
    assert shown(table, "vs best") == {"a": "scorers differ", "b": "≈"}


WRONG_PIXELS, ALL_WRONG = [f"pixels: {WRONG}"], [f"{name}: {WRONG}" for name in PANEL]


def test_a_scorer_whose_distances_are_wrong_has_no_say() -> None:
    """The pixels see the second row at .8 times the first, and the first far behind the teacher."""
    own, other = seeds("a", 0.26, pixels=(5.0,), notes=WRONG_PIXELS), seeds("b", 0.6, pixels=(4.0,), notes=WRONG_PIXELS)
    table = table_of(own, other, free=("b",))
    assert shown(table, "vs best") == {"a": "best", "b": "worse"}
    assert shown(table, "vs teacher") == {"a": "as good", "b": "worse"}
    assert shown(table, "free rival") == {"a": "", "b": ""}
    assert (
        advice(table)[0].cells()[3]
        == "better than every free sampler; as good as the teacher (1.04 times its distance)"
    )
    assert table.warnings[0] == "Beware: verdicts, advice and gates are without pixels."
    first = [f"convolutional: {WRONG}"]
    table = table_of(seeds("a", 0.26, pixels=(5.0,), notes=first), seeds("b", 0.6, pixels=(4.0,), notes=first))
    assert shown(table, "vs best") == {"b": "best", "a": "worse"}, "the next one orders the rows"
    assert remembered(table.shared)["panel"] == ["pixels", "convolutional"], "and is the one that `history` shows"


def test_where_no_scorers_distances_can_be_used_nothing_is_compared() -> None:
    table = table_of(seeds("a", 0.2, notes=ALL_WRONG), seeds("b", 0.6, notes=ALL_WRONG), free=("b",))
    for column in ("vs best", "vs teacher"):
        assert shown(table, column) == {"a": "not comparable", "b": "not comparable"}
    assert shown(table, "free rival") == {"a": "", "b": ""}
    assert "nothing can be compared: no scorer's distances can be used" in table.warnings[0]
    (found,) = advice(table)
    assert found.use.student == "b" and found.cells()[3].endswith("; not comparable with the teacher")
    trained = table_of(seeds("a", 0.2, notes=ALL_WRONG), seeds("b", 0.6, notes=ALL_WRONG))
    assert advice(trained)[0].why == "not told apart from b"


def test_the_teachers_own_images_are_not_compared_with_themselves() -> None:
    spec, rows = spec_with(FREE_MANY, free=("free",)), seeds("free", 0.25, nfe=16, mse_to_teacher=0.0)
    table = make_table(spec, rows)
    assert shown(table, "vs teacher") == {"free": ""}
    assert advice(table)[0].cells()[3] == "no student has as many steps; it is the teacher itself"
    assert headline(spec, table).endswith("No row of fewer steps than the teacher's own 16 is shown to be as good.")


def test_a_difference_needs_the_interval_to_leave_out_0() -> None:
    """.02 is the error that the noises leave in it."""
    wide = half_width(0.02, 1)
    for above, verdict in ((wide - 0.001, "≈"), (wide + 0.001, "worse")):
        table = table_of(seeds("a", 0.5), seeds("b", 0.5 + above, error=FAR))
        assert shown(table, "vs best") == {"a": "best", "b": verdict}
        sign = f"{above:+.3f} ± {wide:.3f}".replace("± 0", "± ")
        assert shown(table, "above best", "convolutional") == {"a": "", "b": sign}


def test_the_more_rows_a_group_has_the_wider_their_intervals() -> None:
    """So that all of them hold at once; rows of another number of steps don't count."""
    above = (half_width(0.02, 1) + half_width(0.02, 6)) / 2
    pair = seeds("a", 0.5), seeds("b", 0.5 + above, error=FAR)
    assert shown(table_of(*pair, seeds("other", 0.5, nfe=8)), "vs best")["b"] == "worse"
    table = table_of(*pair, seeds("c", 0.9), seeds("d", 0.9))
    assert shown(table, "vs best") == {"a": "best", "b": "≈", "c": "worse", "d": "worse"}
    (found,) = [entry.above_best["pixels"] for entry in table.entries if entry.student == "b"]
    assert found.half_width == pytest.approx(10 * half_width(0.02, 6))


def test_training_seeds_widen_a_difference() -> None:
    """By the variance of their mean: two at .4 and .6 have one of .01."""
    table = table_of(seeds("a", 0.4, 0.6), seeds("b", 0.7))
    assert shown(table, "vs best") == {"a": "best", "b": "≈"}
    found = table.entries[1].above_best["convolutional"]
    assert found.estimate == pytest.approx(0.2) and found.error == pytest.approx(0.1)
    assert shown(table_of(seeds("a", 0.5), seeds("b", 0.7)), "vs best")["b"] == "worse"


def test_what_training_saves_is_counted_in_steps_of_the_free_sampler_that_is_as_good() -> None:
    few, more, most = (seeds(f"free-{nfe}", far, nfe=nfe) for nfe, far in ((4, 0.9), (10, 0.5), (20, 0.4)))
    table = table_of(seeds("ours", 0.5), few, more, most, free=("free-4", "free-10", "free-20"))
    assert shown(table, "free rival") == {
        "free-20": "",
        "free-10": "",
        "ours": "free-10, 2.5 x the steps",
        "free-4": "",
    }
    split = seeds("free-10", 0.6, pixels=(4.0,), nfe=10)
    table = table_of(seeds("ours", 0.5), few, split, most, free=("free-4", "free-10", "free-20"))
    assert shown(table, "free rival")["ours"] == "free-10, 2.5 x the steps", "a scorer prefers it"
    table = table_of(seeds("ours", 0.1), few, most, free=("free-4", "free-20"))
    assert shown(table, "free rival")["ours"] == "", "none is as good"
    table = table_of(seeds("ours", 3.0), few, free=("free-4",))
    assert shown(table, "free rival")["ours"] == "better: free-4, 1.0 x the steps", "not equality"


def test_rows_over_budget_do_not_compete() -> None:
    rows = seeds("dear", 0.4, cost=DEAR), seeds("usual", 0.5, cost=USUAL), seeds("other", 0.6, cost=USUAL)
    table = table_of(*rows)
    assert shown(table, "vs best") == {"dear": "better, over budget", "usual": "best", "other": "worse"}
    assert first_of(table.groups[0]).student == best_trained_of(table) == "usual"
    allowed = table_of(seeds("dear", 0.4, cost={**DEAR, "total": 3750}), *rows[1:])
    assert shown(allowed, "vs best") == {"dear": "best", "usual": "worse", "other": "worse"}


def test_free_rows_cost_nothing_and_make_nothing_else_dear() -> None:
    nothing = {"search": 0, "cache": 0, "training": 0, "folds": 0, "total": 0}
    free = [seeds(name, 0.6, cost=nothing) for name in ("one", "two", "three")]
    table = table_of(seeds("ours", 0.5), *free, free=("one", "two", "three"))
    assert not any(entry.over_budget for entry in table.entries)
    assert [entry.free for entry in table.entries] == [False, True, True, True]


def best_trained_of(table: Table) -> str | None:
    found = best_trained(table.groups[0])
    return found.student if found else None


def test_the_best_trained_student_is_the_first_that_is_neither_free_nor_over_budget() -> None:
    free, dear, ours = seeds("free", 0.3), seeds("dear", 0.4, cost=DEAR), seeds("ours", 0.5)
    assert best_trained_of(table_of(free, dear, ours, seeds("more", 0.6), free=("free",))) == "ours"
    assert best_trained_of(table_of(free, free=("free",))) is None


@pytest.mark.parametrize(
    ("distances", "said"),
    [
        ((0.2, 2.0), "better"),
        ((0.26, 2.6), "as good"),
        ((0.2, 2.6), "as good"),
        ((0.3, 3.0), "worse"),
        ((0.2, 3.0), "scorers differ"),
        ((0.26, 3.0), "scorers differ"),
    ],
)
def test_the_teacher_is_reached_where_all_scorers_say_so(distances: tuple[float, float], said: str) -> None:
    """It is at .25 and 2.5, the margin is a tenth of that, and nothing is uncertain."""
    table = table_of(seeds("ours", distances[0], pixels=(distances[1],)))
    assert shown(table, "vs teacher") == {"ours": said}


@pytest.mark.parametrize(("above", "said"), [(-0.07, "better"), (-0.04, "as good"), (0.0, "≈"), (0.07, "worse")])
def test_the_teacher_is_reached_by_the_whole_interval(above: float, said: str) -> None:
    """Its half-width is .0555, the margin .025."""
    assert half_width(0.02, 1) == pytest.approx(0.0555, abs=1e-4)
    table = table_of(seeds("ours", 0.25 + above, error=FAR))
    assert shown(table, "vs teacher") == {"ours": said}
    text = f"{above:+.3f} ± .056"
    assert shown(table, "above teacher", "convolutional") == {"ours": text}


def test_the_margin_is_a_share_of_the_teachers_distance() -> None:
    ours = seeds("ours", 0.29)
    assert [shown(table_of(ours, margin=margin), "vs teacher")["ours"] for margin in (0.15, 0.17)] == [
        "worse", "as good"
    ]  # fmt: skip
    meaning = explanations(table_of(ours, margin=0.15), columns_of(table_of(ours, margin=0.15)))
    assert any("the margin of 15% of the teacher's distance" in text for text in meaning)


def test_a_label_names_the_seeds_where_there_are_several() -> None:
    assert [entry.label for entry in table_of(seeds("one", 0.4), seeds("two", 0.5, 0.6)).entries] == [
        "one", "two (2 seeds)"
    ]  # fmt: skip


COMMON, JUDGED = None, "convolutional"


@pytest.mark.parametrize(
    ("scorer", "name", "changed", "other", "text", "value"),
    [
        (COMMON, "T'", {"nfe": 8}, {"nfe": 8}, "8", 8),
        (COMMON, "convolutional", {"distance": 0.3}, {"distance": 0.5}, "1.60", 1.6),
        (COMMON, "pixels", {"pixels": 3.0}, {"pixels": 5.0}, "1.60", 1.6),
        (COMMON, "MSE", {"mse_to_teacher": 0.01}, {"mse_to_teacher": 0.02}, "0.0150", 0.015),
        (COMMON, "PSNR", {"psnr": 20.0}, {"psnr": 21.0}, "20.5", 20.5),
        (COMMON, "PSNR", {"psnr": 20.0}, {"psnr": None}, "–", None),
        (COMMON, "SSIM", {"ssim": 0.5}, {"ssim": 1.0}, "0.750", 0.75),
        (COMMON, "s/1000", {"seconds_per_1000_images": 1.5}, {"seconds_per_1000_images": 2.0}, "1.75", 1.75),
        (COMMON, "latency", {"latency_ms": 1.0}, {"latency_ms": 2.0}, "1.5 ms", 1.5),
        (COMMON, "speed-up", {"speed_up": 10.0}, {"speed_up": 20.0}, "15 x", 15),
        (JUDGED, "at floor", {"frechet_distance_at_floor": 0.5}, {"frechet_distance_at_floor": 0.7}, "0.600", 0.6),
        (JUDGED, "to training", {"train_distance": 0.5}, {"train_distance": 0.7}, "0.600", 0.6),
        (JUDGED, "KID", {"kernel_distance": 0.01}, {"kernel_distance": 0.0151}, "0.0126", 0.01255),
        (JUDGED, "precision", {"precision": 0.5}, {"precision": 0.75}, "0.625", 0.625),
        (JUDGED, "recall", {"recall": 0.25}, {"recall": 0.75}, "0.500", 0.5),
        (JUDGED, "agrees", {"agreement": 0.5}, {"agreement": 0.75}, "62.5 %", 0.625),
        (JUDGED, "cosine", {"feature_cosine": 0.25}, {"feature_cosine": 0.75}, "0.500", 0.5),
        (JUDGED, "path", {"path_length": 3.0}, {"path_length": 5.0, "teacher_path_length": 1.0}, "3.25 x", 3.25),
    ],
)
def test_a_column_is_the_mean_over_seeds(
    scorer: str | None, name: str, changed: dict[str, Any], other: dict[str, Any], text: str, value: float | None
) -> None:
    table = table_of([row("ours", 0, **changed), row("ours", 1, **other)])
    columns = columns_of_scorer(table, scorer) if scorer else columns_of(table)
    (found,) = [column for column in columns if column.name == name]
    assert found.text(table.entries[0]) == text
    assert found.value(table.entries[0]) == (None if value is None else pytest.approx(value))


def test_a_distance_is_its_mean_with_the_lowest_and_the_highest_seed() -> None:
    for distances, text in (((0.6, 0.4, 0.65), "0.550 [0.400, 0.650]"), ((0.6,), "0.600")):
        table = table_of(seeds("ours", *distances))
        assert shown(table, "distance", "convolutional") == {"ours": text}
    assert shown(table, "distance", "pixels") == {"ours": "6.000"}


def test_verdicts_sort_from_better_to_worse() -> None:
    usual = (
        seeds("best", 0.5),
        seeds("near", 0.51, error=FAR),
        seeds("differs", 0.6, pixels=(4.9,)),
        seeds("worse", 0.9),
    )
    table = table_of(*usual, seeds("dear", 0.4, cost=DEAR))
    (column,) = [column for column in columns_of(table) if column.name == "vs best"]
    placed = sorted(table.entries, key=lambda entry: column.value(entry) or 0.0)
    assert [entry.student for entry in placed] == ["dear", "near", "best", "differs", "worse"]
    assert column.text(table.entries[1]) == "scorers differ"
    assert column.value(table_of(seeds("alone", 0.5)).entries[0]) is None


@pytest.mark.parametrize(("total", "text"), [(3000, "3 k"), (2_949_600, "2950 k"), (400, "0 k"), (0, "free")])
def test_a_cost_is_in_thousands(total: int, text: str) -> None:
    cost = {"search": 0, "cache": 0, "training": total, "folds": 1, "total": total}
    table = table_of([row("ours", cost=cost), row("ours", 1, cost={**cost, "total": 7})])
    assert shown(table, "cost") == {"ours": text}, "the same for every seed"


def test_columns_are_grouped_and_some_fit_a_terminal() -> None:
    table = table_of(seeds("ours", 0.5))
    common, judged = grouped(columns_of(table)), grouped(columns_of_scorer(table, "convolutional"))
    assert common == [
        ("", ["T'"]),
        ("Distance, times the teacher's", ["convolutional", "pixels"]),
        ("All scorers", ["vs best", "vs teacher"]),
        (TEACHER, ["MSE", "PSNR", "SSIM"]),
        (COST, ["s/1000", "latency", "speed-up", "free rival", "cost"]),
    ]
    assert judged == [
        (
            QUALITY,
            [
                "distance",
                "above best",
                "above teacher",
                "at this n",
                "at floor",
                "to training",
                "KID",
                "precision",
                "recall",
            ],
        ),
        (TEACHER, ["agrees", "cosine", "path"]),
    ]
    assert [column.name for column in terminal_columns(table)] == [
        "T'", "convolutional", "pixels", "vs best", "vs teacher", "MSE", "cost"
    ]  # fmt: skip


def grouped(columns: list[Column]) -> list[tuple[str, list[str]]]:
    """Names of columns under their headings, which have to be next to each other."""
    groups = list(dict.fromkeys(column.group for column in columns))
    found = [(group, [column.name for column in columns if column.group == group]) for group in groups]
    assert [name for _, names in found for name in names] == [column.name for column in columns]
    return found


def test_a_scorers_table_leaves_out_what_it_does_not_say() -> None:
    """The pixels have no classes; a floor of as many images as the rows have is compared with their distance."""
    names = {
        changed.get("floor_images"): [column.name for column in columns_of_scorer(table_of(rows), "pixels")]
        for changed in (
            {"floor_images": 0, "floor": None, "frechet_distance_at_floor": None, "train_distance": None},
            {"floor_images": 5000},
            {"floor_images": 750},
        )
        for rows in [seeds("ours", 0.5, **changed)]
    }
    assert "agrees" not in {name for of in names.values() for name in of}
    assert ["at floor" in names[images] for images in (0, 5000, 750)] == [False, False, True]
    assert ["to training" in names[images] for images in (0, 5000, 750)] == [False, True, True]


def test_no_share_is_shown_of_a_distance_that_is_not_told_from_none() -> None:
    """The teacher's standard error is .02; its distance less the bias can be below 0, and then no margin is left."""
    for teachers, ratio, verdict in ((0.025, "20.00", "worse"), (0.019, "–", "worse"), (-0.1, "–", "worse")):
        without_blocks = jackknife(teachers, 0.02)
        table = table_of(
            seeds("ours", 0.5, teacher_frechet_distance=teachers, teacher_frechet_distance_jackknife=without_blocks)
        )
        assert shown(table, "convolutional")["ours"] == ratio
        assert shown(table, "vs teacher")["ours"] == verdict
    assert advice(table)[0].cells()[3].endswith("; worse than the teacher")


def test_what_a_scorers_distances_depend_on_is_said() -> None:
    (ours,) = seeds("ours", 0.5)
    assert basis_of_scorer(ours.metrics, "pixels") == (
        "classifier-2:0123abcd; distances are to 1500 held-out images. The teacher's 5000 images are at 2.500 "
        "(standard error 0.200). With the bias of 750 images that would be about 2.500, where 750 other real images, "
        "the floor, are at 1.250."
    )
    (ours,) = seeds("ours", 0.5, held_out=False, floor=None, floor_images=0)
    assert basis_of_scorer(ours.metrics, "convolutional") == (
        "classifier-2:0123abcd; distances are to 1500 training images. The teacher's 5000 images are at 0.250 "
        "(standard error 0.020)."
    )


def test_every_column_is_explained_once() -> None:
    table = table_of(seeds("ours", 0.5))
    notes = explanations(table, columns_of(table))
    assert notes[1].startswith("convolutional, pixels: Frechet distance to real images in that scorer's view")
    assert notes[-1] == "The teacher has 64 levels, and its ddim on 16 of them stands for all."
    said = explanations_of_scorers(table)
    assert len(said) == len(set(said))
    every = " ".join([*notes, *said])
    columns = {column.name for name in table.panel for column in [*columns_of(table), *columns_of_scorer(table, name)]}
    assert {name for name in columns if f"{name}:" not in every and f"{name}, " not in every} == {"cost"}
    assert "cost in forward-equivalents:" in every


def test_warnings_are_the_evaluations_own_and_of_a_poor_teacher() -> None:
    assert table_of(seeds("ours", 0.5)).warnings == []
    assert table_of(seeds("ours", 0.5, floor=0.02, floor_images=0)).warnings == [], "there is no floor"
    said = table_of(seeds("ours", 0.5, floor=0.02, floor_images=750)).warnings
    assert len(said) == 2 and "convolutional: the teacher's own distance is 12 times that of other real" in said[0]
    (said,) = table_of(seeds("ours", 0.5, floor=0.02, floor_images=750, notes=WRONG_PIXELS)).warnings[2:]
    assert said.startswith("Beware: convolutional: the teacher's own distance")
    rough = jackknife(0.25, 0.02)
    rough["images"] = [value + 0.01 for value in rough["images"]]
    biased = {"floor": 0.1, "floor_images": 750, "teacher_frechet_distance_jackknife": rough}
    (said,) = table_of(seeds("ours", 0.5, notes=WRONG_PIXELS, **biased)).warnings[2:]
    assert "convolutional: the teacher's own distance is 5 times" in said, ".25 + 4 * .01 * 5000 / 750"
    assert table_of(seeds("ours", 0.5, notes=["one", "two"])).warnings == ["Beware: one.", "Beware: two."]


def test_what_trainings_took_is_that_of_the_longest_and_largest_seed() -> None:
    cost = {"search": 0, "cache": 128_000, "training": 7_500_600, "folds": 3, "total": 7_628_600}
    rows = [
        row("ours", 0, cost=cost, seconds=20.6, peak_memory_mb=499.6, device="cuda"),
        row("ours", 1, cost=cost, seconds=10.0, peak_memory_mb=300.0, device="cpu"),
        row("ours", 2, cost=cost, seconds=10.0, peak_memory_mb=300.0, device="cuda"),
    ]
    spec = spec_of({"ours": OURS, "free": FREE, "other": Resampled(kind="resampled", student="ours")})
    found = cost_rows(spec, make_table(spec, [*rows, row("free"), row("other")]).entries)
    assert found == [["ours (3 seeds)", "0 k", "128 k", "7501 k", "7629 k", "3", "21", "500", "cpu, cuda"]]
    assert len(found[0]) == len(COST_COLUMNS)


def test_students_that_are_sampled_from_others_weights_are_named() -> None:
    two = Resampled(kind="resampled", student="ours")
    assert resampled(spec_of({"ours": OURS, "two": two, "fast": evolve(two, average="short")})) == (
        "From trainings in this table, at no further cost: two (of ours), fast (of ours, its average short)."
    )
    assert resampled(spec_of({"ours": OURS, "free": FREE})) == ""


def headline_of(*students: list[Row], free: tuple[str, ...] = ()) -> str:
    return headline(spec_with(*students, free=free), table_of(*students, free=free))


FREE_MANY = seeds("free", 0.25, nfe=16)


def test_a_headline_names_the_fewest_steps_at_the_teachers_quality_with_and_without_training() -> None:
    few, wide = seeds("few", 0.4, 0.44, nfe=2), seeds("wide", 0.25, nfe=8)
    assert headline_of(wide, few, FREE_MANY, free=("free",)) == (
        "A 64-step teacher of digits, distilled into 2 students of 2 to 8 steps. As good as the teacher with the "
        "fewest steps: wide, 8 steps, for 3 k forward-equivalents of training; without any training: free, 16 steps."
    )
    assert headline_of(wide, few).endswith("of training; without any training: no row.")
    beaten = seeds("beaten", 0.251, nfe=8)
    best = headline_of(seeds("wide", 0.2, nfe=8, pixels=(1.5,)), beaten, free=("beaten",))
    assert best.endswith("without any training: beaten, 8 steps."), "a free row that a student beats may be good enough"
    rough = seeds("rough", 0.27, nfe=8, error=0.1)
    assert "fewest steps: wide, 8 steps" in headline_of(wide, rough, FREE_MANY, free=("rough", "free")), (
        "the free row is advised, and not shown to be as good"
    )
    assert headline_of(few, FREE_MANY, free=("free",)) == (
        "A 64-step teacher of digits, distilled into one student of 2 steps. As good as the teacher with the fewest "
        "steps: free, 16 steps, without any training."
    )
    assert headline_of(few).endswith("No row is shown to be as good as the teacher.")


def test_a_headline_names_a_folder_by_its_path() -> None:
    spec = evolve(spec_with(FREE_MANY), data=folder_of("clothes", 1, 8, labelled=False, images=100))
    assert headline(spec, table_of(FREE_MANY)).startswith("A 64-step teacher of clothes, ")


def test_a_headline_where_nothing_was_trained() -> None:
    found = headline_of(seeds("a", 0.25), seeds("b", 0.6), free=("a", "b"))
    assert found.startswith("A 64-step teacher of digits, under 2 free samplers. As good as the teacher")


ONE, TWO = seeds("a", 0.5, nfe=1), seeds("b", 0.6, nfe=1)
NEAR = seeds("near", 0.51, nfe=1, error=FAR)


def free(distance: float, **changed: Any) -> list[Row]:
    return seeds("free", distance, nfe=1, **changed)


@pytest.mark.parametrize(
    ("rows", "use", "why"),
    [
        ([ONE], "a", "no rival"),
        ([ONE, TWO], "a", "best"),
        ([ONE, TWO, NEAR], "a", "not told apart from near"),
        ([ONE, seeds("b", 0.6, nfe=1, pixels=(4.0,))], "a", "though the scorers differ on the best student"),
        ([free(0.5)], "free", "no student has as many steps"),
        ([ONE, TWO, free(0.7)], "a", "better than every free sampler"),
        ([ONE, NEAR, free(0.7)], "a", "better than every free sampler, not told apart from near"),
        ([ONE, TWO, free(0.51, error=FAR)], "free", "no student is shown to be better"),
        ([ONE, TWO, free(0.51, pixels=(4.0,))], "free", "no student is shown to be better"),
        ([ONE, TWO, free(0.3)], "free", "better than any student"),
        ([NEAR, TWO, free(0.5)], "free", "no student is shown to be better"),
        ([ONE, seeds("b", 0.6, nfe=1, pixels=(2.0,)), free(0.3)], "free", "no student is shown to be better"),
        (
            [seeds("dear", 0.2, nfe=1, cost=DEAR), ONE, TWO, free(0.3)],
            "free",
            "no student of usual cost is shown to be better",
        ),
        ([seeds("dear", 0.2, nfe=1, cost=DEAR), ONE, TWO], "a", "best"),
        ([ONE, TWO, seeds("dear", 0.51, nfe=1, cost=DEAR, error=FAR)], "a", "best"),
    ],
)
def test_a_student_is_advised_only_where_every_free_sampler_is_shown_to_be_worse(
    rows: list[list[Row]], use: str, why: str
) -> None:
    (found,) = advice(table_of(*rows, free=("free",)))
    steps, used, _, said = found.cells()
    assert (steps, used, said.partition("; ")[0]) == ("1", use, why)


def test_advice_is_for_every_number_of_steps_few_first() -> None:
    table = table_of(seeds("wide", 0.25, nfe=8), seeds("few", 0.4, nfe=2), FREE_MANY, free=("free",))
    assert [each.use.student for each in advice(table)] == ["few", "wide", "free"]
    assert [each.price for each in advice(table)] == ["3 k", "3 k", "3 k"]
    (paid,) = advice(table_of(seeds("free", 0.25, cost=dict.fromkeys(USUAL, 0)), free=("free",)))
    assert paid.price == "free"


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (2.0, "better than the teacher (0.80 times its distance)"),
        (2.55, "as good as the teacher (0.80 to 1.02 times its distance)"),
        (3.0, "as good as the teacher to some scorers and worse to others (0.80 to 1.20 times its distance)"),
    ],
)
def test_advice_compares_what_it_names_with_the_teacher(pixels: float, said: str) -> None:
    (found,) = advice(table_of(seeds("ours", 0.2, pixels=(pixels,))))
    assert found.cells()[3] == f"no rival; {said}"
